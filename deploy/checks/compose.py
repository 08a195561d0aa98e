"""compose.py FILE: holds the compose file, as compose itself has read it, to what it says about itself."""

import sys
import yaml

# The step that makes the secrets hands files to their readers, so it is root with three capabilities.
AS_ROOT = {"first-start"}
# What people reach, and on loopback what the operator does.
REACHED = {"load-balancer"}
REACHED_ON_LOOPBACK = {"grafana"}
# Started only when the profile is named.
WATCHING = {"collector", "jaeger", "prometheus", "grafana"}


def on_loopback(port):
    """Whether a published port, in the short or the long form, is on loopback."""
    return port.get("host_ip") == "127.0.0.1" if isinstance(port, dict) else str(port).startswith("127.0.0.1:")


def wrong(services):
    """What is wrong, one line each."""
    for name, service in services.items():
        if service.get("read_only") is not True:
            yield f"{name} may write to its image"
        if service.get("cap_drop") != ["ALL"]:
            yield f"{name} keeps capabilities"
        if not any("no-new-privileges" in each for each in service.get("security_opt", [])):
            yield f"{name} may gain privileges"
        if name not in AS_ROOT and service.get("user") in ("root", "0", "0:0"):
            yield f"{name} is root"
        if name not in AS_ROOT and service.get("cap_add"):
            yield f"{name} adds capabilities"
        if service.get("ports") and name not in REACHED | REACHED_ON_LOOPBACK:
            yield f"{name} can be reached from outside"
        if name in REACHED_ON_LOOPBACK and not all(on_loopback(port) for port in service.get("ports", [])):
            yield f"{name} can be reached from other machines"
        if name in WATCHING and set(service["networks"]) - {"watching", "operator"}:
            yield f"{name} reaches more than it watches"
        if service.get("privileged") or service.get("network_mode") == "host" or service.get("pid") == "host":
            yield f"{name} is not confined"
        for needed in service.get("depends_on", {}):
            if needed not in services:
                yield f"{name} waits for {needed}, which is not there"
    nodes = [name for name in services if name.startswith("node-")]
    if len(nodes) != 3:
        yield f"there are {len(nodes)} nodes"
    for name in nodes:
        if set(services[name]["networks"]) != {"nodes", "backing", "watching"}:
            yield f"{name} is in other networks than it should be"
    if set(services["load-balancer"]["networks"]) & {"backing"}:
        yield "the load balancer reaches the databases"


def main(path):
    with open(path) as file:
        compose = yaml.safe_load(file)
    found = list(wrong(compose["services"]))
    for network in ("nodes", "backing", "watching"):
        if compose["networks"][network].get("internal") is not True:
            found.append(f"the network {network} has a way out")
    print("\n".join(found))
    return 1 if found else 0


sys.exit(main(*sys.argv[1:]))
