"""collector.py FILE: holds the collector's pipelines to its own receivers, processors, exporters and extensions."""

import sys

import yaml


def wrong(config):
    """What is wrong, one line each."""
    used = {"receivers": set(), "processors": set(), "exporters": set(), "extensions": set(config["service"].get("extensions", []))}
    for name, pipeline in config["service"]["pipelines"].items():
        for kind in ("receivers", "processors", "exporters"):
            used[kind] |= set(pipeline.get(kind, []))
        if pipeline.get("processors", [None])[0] != "memory_limiter":
            yield f"the pipeline {name} does not begin with memory_limiter"
    for kind, names in used.items():
        defined = set(config.get(kind, {}))
        for name in names - defined:
            yield f"{kind} has no {name}"
        for name in defined - names:
            yield f"nothing uses {name} of {kind}"


def main(path):
    with open(path) as file:
        found = list(wrong(yaml.safe_load(file)))
    print("\n".join(found))
    return 1 if found else 0


sys.exit(main(sys.argv[1]))
