//! Ports, probes, selectors and grace periods.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;
use snug_gateway::server::DRAIN_LIMIT;
use snug_tests::node::Node;

use crate::files::{OVERLAYS, compose_node, environment, resource, resources, text, yaml};

/// Between the end of a drain and the kill.
const SLACK: Duration = Duration::from_secs(3);

fn seconds(value: &Value) -> Duration {
    Duration::from_secs(value.as_u64().expect("whole seconds"))
}

fn container(overlay: &str) -> Value {
    resource(overlay, "Deployment", "snug")["spec"]["template"]["spec"]["containers"][0].clone()
}

#[tokio::test]
async fn probes_and_load_balancers_ask_what_a_node_answers() {
    let mut paths = BTreeSet::new();
    for overlay in OVERLAYS {
        let container = container(overlay);
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let asked = &container[probe]["httpGet"];
            assert_eq!(asked["port"], "http", "{overlay}: {probe}");
            paths.insert(asked["path"].as_str().expect("a path").to_owned());
        }
        assert_eq!(container["livenessProbe"]["httpGet"]["path"], "/livez", "a lost database is no reason to restart");
        assert_eq!(container["readinessProbe"]["httpGet"]["path"], "/readyz");
    }
    let ingress = resource("production", "Ingress", "snug");
    paths.insert(ingress["metadata"]["annotations"]["haproxy.org/check-http"].as_str().expect("a path").to_owned());
    assert!(paths.len() >= 2, "{paths:?}");
    let node = Node::start().await;
    for path in paths {
        let answer = snug_tests::http().get(format!("{}{path}", node.url)).header("host", "10.1.2.3:8080").send().await;
        let answer = answer.expect("an answer");
        assert_eq!(answer.status(), 200, "{path}");
        // The page answers any path with itself.
        assert!(!answer.text().await.expect("text").contains("<html"), "{path} is no probe's");
    }
    node.stop().await;
}

#[test]
fn ports_lead_from_the_ingress_to_the_program() {
    for overlay in OVERLAYS {
        let port = &container(overlay)["ports"][0];
        assert_eq!(port["name"], "http");
        let listen = environment(overlay)["SNUG_LISTEN"].clone();
        assert!(listen.ends_with(&format!(":{}", port["containerPort"])), "{overlay}: {listen}");
        let service = resource(overlay, "Service", "snug");
        assert_eq!(service["spec"]["ports"][0]["targetPort"], "http");
    }
    let path = &resource("production", "Ingress", "snug")["spec"]["rules"][0]["http"]["paths"][0];
    assert_eq!(path["path"], "/", "the page, the API and /ws are one service");
    let backend = &path["backend"]["service"];
    assert_eq!(backend["name"], "snug");
    let service = resource("production", "Service", "snug");
    assert_eq!(backend["port"]["name"], service["spec"]["ports"][0]["name"]);
    let policy = resource("production", "NetworkPolicy", "ingress");
    assert_eq!(policy["spec"]["ingress"][0]["ports"][0]["port"], "http");
}

#[test]
fn metrics_are_read_where_the_program_tells_them_and_by_no_service() {
    let port_of = |overlay: &str| environment(overlay)["SNUG_ADMIN_LISTEN"].rsplit(':').next().map(str::to_owned);
    for overlay in OVERLAYS {
        let port = &container(overlay)["ports"][1];
        assert_eq!(port["name"], "metrics");
        assert_eq!(port_of(overlay), Some(port["containerPort"].to_string()), "{overlay}");
        let pod = &resource(overlay, "Deployment", "snug")["spec"]["template"]["metadata"];
        assert_eq!(pod["annotations"]["prometheus.io/port"], port["containerPort"].to_string());
        let service = resource(overlay, "Service", "snug");
        let ports = service["spec"]["ports"].as_array().expect("ports");
        assert!(ports.iter().all(|port| port["targetPort"] == "http"), "{overlay}: the public does not read metrics");
    }
    let component = "kubernetes/components/telemetry";
    let policy = yaml(&format!("{component}/network-policy.yaml"));
    assert_eq!(policy["spec"]["ingress"][0]["ports"][0]["port"], "metrics");
    let endpoint = &yaml(&format!("{component}/pod-monitor.yaml"))["spec"]["podMetricsEndpoints"][0];
    assert_eq!((&endpoint["port"], &endpoint["path"]), (&"metrics".into(), &"/metrics".into()));
    let literal = yaml(&format!("{component}/kustomization.yaml"))["configMapGenerator"][0]["literals"][0].clone();
    let sent_to = policy["spec"]["egress"][0]["ports"][0]["port"].to_string();
    assert!(
        literal.as_str().is_some_and(|literal| literal.starts_with("SNUG_OTLP_URL=") && literal.ends_with(&sent_to))
    );
    let compose = compose_node();
    assert_eq!(compose["environment"]["SNUG_ADMIN_LISTEN"], environment("production")["SNUG_ADMIN_LISTEN"]);
}

#[test]
fn a_pod_is_given_the_time_that_a_drain_takes() {
    for overlay in OVERLAYS {
        let pod = &resource(overlay, "Deployment", "snug")["spec"]["template"]["spec"];
        let pause = seconds(&pod["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]);
        let grace = seconds(&pod["terminationGracePeriodSeconds"]);
        assert!(grace >= pause + DRAIN_LIMIT + SLACK, "{overlay}: {grace:?} for {pause:?} and {DRAIN_LIMIT:?}");
        // What checks readiness must have seen it before the pause is over.
        let readiness = &pod["containers"][0]["readinessProbe"];
        let noticed = seconds(&readiness["periodSeconds"]) * 2;
        assert!(noticed <= pause, "{overlay}");
    }
    let node = compose_node();
    let grace = node["stop_grace_period"].as_str().and_then(|grace| grace.strip_suffix('s')).expect("seconds");
    assert!(Duration::from_secs(grace.parse().expect("a number")) >= DRAIN_LIMIT + SLACK);
}

#[test]
fn an_overlay_has_a_certificate_for_the_address_that_people_open() {
    let ingress = resource("production", "Ingress", "snug");
    let host = ingress["spec"]["rules"][0]["host"].as_str().expect("a name");
    assert_eq!(ingress["spec"]["tls"][0]["hosts"][0], host);
    assert_eq!(environment("production")["SNUG_PUBLIC_URL"], format!("https://{host}"));
    assert!(text("kubernetes/components/gateway-api/gateway.yaml").contains(host));
}

/// All pod templates of an overlay, with the name of what makes them.
fn pods(overlay: &str) -> Vec<(String, Value)> {
    let made = resources(overlay).into_iter().filter(|each| !each["spec"]["template"].is_null());
    made.map(|each| (each["metadata"]["name"].to_string(), each["spec"]["template"].clone())).collect()
}

#[test]
fn every_selector_selects_a_pod() {
    for overlay in OVERLAYS {
        let pods = pods(overlay);
        let mut seen = 0;
        for each in resources(overlay) {
            let spec = &each["spec"];
            let selectors = match each["kind"].as_str().expect("a kind") {
                "Service" => vec![spec["selector"].clone()],
                "NetworkPolicy" => {
                    let rules = [&spec["ingress"], &spec["egress"]].into_iter().filter_map(Value::as_array).flatten();
                    let peers =
                        rules.flat_map(|rule| [&rule["from"], &rule["to"]]).filter_map(Value::as_array).flatten();
                    // With a namespace's selector it is about other people's pods.
                    let ours = peers.filter(|peer| peer["namespaceSelector"].is_null());
                    let ours = ours.map(|peer| &peer["podSelector"]["matchLabels"]);
                    [&spec["podSelector"]["matchLabels"]].into_iter().chain(ours).cloned().collect()
                }
                _ => vec![spec["selector"]["matchLabels"].clone()],
            };
            for selector in selectors.iter().filter_map(Value::as_object) {
                let selected =
                    |pod: &Value| selector.iter().all(|(name, value)| pod["metadata"]["labels"][name] == *value);
                assert!(
                    pods.iter().any(|(_, pod)| selected(pod)),
                    "{overlay}: {} selects nothing",
                    each["metadata"]["name"]
                );
                seen += 1;
            }
        }
        assert!(seen >= 6, "{overlay}: only {seen} selectors were looked at");
    }
}

#[test]
fn no_pod_has_rights_or_variables_that_it_did_not_ask_for() {
    for overlay in OVERLAYS {
        for (name, pod) in pods(overlay) {
            let spec = &pod["spec"];
            assert_eq!(spec["automountServiceAccountToken"], false, "{overlay}: {name}");
            // A Service called snug would become SNUG_PORT and SNUG_SERVICE_HOST.
            assert_eq!(spec["enableServiceLinks"], false, "{overlay}: {name}");
            assert_eq!(spec["securityContext"]["runAsNonRoot"], true, "{overlay}: {name}");
            for container in spec["containers"].as_array().expect("a list") {
                let context = &container["securityContext"];
                assert_eq!(context["readOnlyRootFilesystem"], true, "{overlay}: {name}");
                assert_eq!(context["allowPrivilegeEscalation"], false, "{overlay}: {name}");
                assert_eq!(context["capabilities"]["drop"][0], "ALL", "{overlay}: {name}");
                assert!(container["resources"]["limits"]["memory"].is_string(), "{overlay}: {name}");
            }
        }
    }
}
