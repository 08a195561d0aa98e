//! The edge: host names, origins, headers, cookies, limits by address.

use reqwest::header::HeaderMap;
use snug_protocol::{GrantId, RoomId};
use snug_tests::guest::Guest;
use snug_tests::http;
use snug_tests::node::Node;

async fn get(url: &str, headers: &[(&'static str, &str)]) -> (u16, HeaderMap, String) {
    let mut request = http().get(url);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let response = request.send().await.expect("an answer");
    (response.status().as_u16(), response.headers().clone(), response.text().await.expect("text"))
}

#[tokio::test]
async fn other_host_names_are_turned_away_with_what_to_do() {
    let node = Node::start().await;
    let (status, _, body) = get(&format!("{}/api/rooms", node.url), &[("host", "evil.example")]).await;
    assert_eq!(status, 421);
    assert!(body.contains("host_not_allowed"), "{body}");
    let (status, _, page) = get(&node.url, &[("host", "192.168.1.5:8080"), ("accept", "text/html")]).await;
    assert_eq!(status, 421);
    assert!(page.contains("SNUG_PUBLIC_URL") && page.contains("https"), "{page}");
    let (status, _, _) = get(&format!("{}/livez", node.url), &[("host", "10.0.0.7")]).await;
    assert_eq!(status, 200, "probes come by address");
}

#[tokio::test]
async fn requests_of_other_origins_are_refused() {
    let node = Node::start().await;
    let nonce = format!("{}/api/nonce", node.url);
    let post = |headers: Vec<(&'static str, String)>| {
        let mut request = http().post(&nonce);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        async move { request.send().await.expect("an answer").status().as_u16() }
    };
    let cookie = format!("snug_{}=anything", node.url.rsplit(':').next().expect("a port"));
    assert_eq!(post(vec![("origin", node.url.clone())]).await, 200);
    assert_eq!(post(vec![("origin", "https://evil.example".into())]).await, 403);
    assert_eq!(post(vec![("origin", "null".into())]).await, 403);
    assert_eq!(post(vec![]).await, 200, "a program has no origin and no cookie");
    assert_eq!(post(vec![("cookie", cookie.clone())]).await, 403, "a cookie without an origin is not from our page");
    assert_eq!(post(vec![("cookie", cookie), ("origin", node.url.clone())]).await, 200);
}

#[tokio::test]
async fn every_answer_carries_the_headers_that_keep_the_page_to_itself() {
    let node = Node::start().await;
    for path in ["/", "/api/nothing", "/livez", "/readyz"] {
        let (_, headers, _) = get(&format!("{}{path}", node.url), &[]).await;
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(
            policy.contains("require-trusted-types-for 'script'") && !policy.contains("unsafe-inline"),
            "{path}: {policy}"
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        assert!(headers.contains_key("permissions-policy"));
    }
    let (_, headers, _) = get(&format!("{}/api/rooms", node.url), &[]).await;
    assert_eq!(headers["cache-control"], "no-store");
}

#[tokio::test]
async fn a_pages_cookie_is_out_of_reach_of_scripts_and_works() {
    let node = Node::start().await;
    let mut ana = Guest::new(&node.url);
    ana.create("Cookie").await;
    let mut sign_in = ana.sign_in(RoomId::default(), GrantId::default()).await;
    sign_in.bearer = false;
    let body = serde_json::json!({ "sign_in": sign_in }).to_string();
    let request = http()
        .post(format!("{}/api/token", node.url))
        .header("content-type", "application/json")
        .header("origin", &node.url);
    let response = request.body(body).send().await.expect("an answer");
    let cookie = response.headers()["set-cookie"].to_str().expect("text").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let answer = response.text().await.expect("text");
    assert!(!answer.contains("\"token\""), "a page never sees its token: {answer}");
    let pair = cookie.split(';').next().expect("name and value");
    assert_eq!(get(&format!("{}/api/rooms", node.url), &[("cookie", pair)]).await.0, 200);
}

#[tokio::test]
async fn too_many_requests_are_told_when_to_come_back() {
    let node = Node::start_with(&["--http-per-second=1", "--http-burst=3", "--trusted-proxies=127.0.0.0/8"]).await;
    let url = format!("{}/api/nothing", node.url);
    for _ in 0..3 {
        assert_eq!(get(&url, &[("x-forwarded-for", "198.51.100.7")]).await.0, 404);
    }
    let (status, headers, body) = get(&url, &[("x-forwarded-for", "9.9.9.9, 198.51.100.7")]).await;
    assert_eq!(status, 429, "what the client wrote to the left does not help it");
    assert!(body.contains("too_many_requests") && body.contains("retry_after_ms"), "{body}");
    assert!(headers["retry-after"].to_str().expect("text").parse::<u64>().expect("seconds") >= 1);
    assert_eq!(get(&url, &[("x-forwarded-for", "198.51.100.8")]).await.0, 404, "another address is another matter");
}

#[tokio::test]
async fn the_api_describes_itself() {
    let node = Node::start().await;
    let (status, _, body) = get(&format!("{}/api/openapi.json", node.url), &[]).await;
    assert_eq!(status, 200);
    let document: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    let described: Vec<&String> = document["paths"].as_object().expect("paths").keys().collect();
    let reference = include_str!("../../services/protocol/PROTOCOL.md");
    for path in described {
        assert!(reference.contains(path.as_str()), "{path} is not in PROTOCOL.md");
    }
    for path in [
        "/api/nonce",
        "/api/lookup",
        "/api/rooms",
        "/api/join",
        "/api/token",
        "/api/rooms/{room}/history",
        "/api/rooms/{room}/chain",
        "/api/rooms/{room}/pins",
        "/api/rooms/{room}/steps",
        "/api/rooms/{room}/epochs",
        "/api/rooms/{room}/epochs/{epoch}/keys",
        "/api/moves/{id}/offer",
        "/api/moves/{id}/nonce",
        "/api/moves/{id}/reveal",
        "/api/moves/{id}/answer",
    ] {
        assert!(document["paths"].get(path).is_some(), "{path} is not described");
    }
    assert_eq!(document["info"]["title"], "Snug");
}

#[tokio::test]
async fn readiness_names_each_dependency() {
    let node = Node::start().await;
    let (status, _, body) = get(&format!("{}/readyz", node.url), &[]).await;
    let report: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!((status, &report["ready"], &report["degraded"]), (200, &true.into(), &false.into()));
    assert_eq!(report["dependencies"]["bus"]["kind"], "local");
    node.store.close().await;
    let (status, _, body) = get(&format!("{}/readyz", node.url), &[]).await;
    assert_eq!(status, 503, "without its database a node takes nobody: {body}");
}

#[tokio::test]
async fn a_device_or_an_address_has_so_many_sockets() {
    let node = Node::start_with(&["--sockets-per-device=2", "--sockets-per-address=3"]).await;
    let (mut ana, mut ben) = (Guest::new(&node.url), Guest::new(&node.url));
    let room = ana.create("Sockets").await;
    ben.join(&room).await;
    let (first, _second) = (ana.socket().await, ana.socket().await);
    let mut third = ana.raw_socket().await;
    assert_eq!(third.error().await.code.as_str(), "too_many_sockets");
    assert_eq!(third.closed().await, Some(snug_protocol::frame::close::TOO_MANY));
    let _bens = ben.socket().await;
    let mut too_many = ben.raw_socket().await;
    assert_eq!(too_many.closed().await, Some(snug_protocol::frame::close::TOO_MANY));
    drop(first);
    snug_tests::eventually("a closed socket makes room", async || {
        let mut again = ana.raw_socket().await;
        again.say(&snug_protocol::frame::ClientFrame::Hello { client: "test".into() }).await;
        matches!(
            again.next().await,
            snug_client::wire::Incoming::Frame(snug_protocol::frame::ServerFrame::Welcome { .. })
        )
        .then_some(())
    })
    .await;
}
