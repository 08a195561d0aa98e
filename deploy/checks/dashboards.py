"""dashboards.py FILE…: the expressions of Grafana dashboards as a file of rules, for promtool to read."""

import json
import sys

import yaml

# What Grafana puts in their places.
VARIABLES = {"$__rate_interval": "5m", "$instance": ".*"}


def expressions(value):
    """Every expression in a dashboard."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name == "expr":
                yield inner
            else:
                yield from expressions(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from expressions(inner)


def main(paths):
    rules = []
    for path in paths:
        with open(path) as file:
            found = list(expressions(json.load(file)))
        if not found:
            sys.exit(f"{path} draws nothing")
        for expression in found:
            for variable, value in VARIABLES.items():
                expression = expression.replace(variable, value)
            rules.append({"record": f"snug:drawn:{len(rules)}", "expr": expression})
    yaml.safe_dump({"groups": [{"name": "drawn", "rules": rules}]}, sys.stdout)


main(sys.argv[1:])
