"""secrets.py MANIFESTS SECRETS: every Secret and key that the manifests refer to is among the secrets, and none is there in vain."""

import sys
import yaml

# Made by others: the certificate.
ELSEWHERE = {"snug-tls"}


def references(node):
    """(secret, key) of everything under `node` that refers to a Secret."""
    if isinstance(node, list):
        for each in node:
            yield from references(each)
    elif isinstance(node, dict):
        if "secretKeyRef" in node:
            yield node["secretKeyRef"]["name"], node["secretKeyRef"]["key"]
        if "secret" in node and isinstance(node["secret"], dict):
            for item in node["secret"]["items"]:
                yield node["secret"]["secretName"], item["key"]
        for each in node.values():
            yield from references(each)


def main(manifests, secrets):
    with open(manifests) as file:
        wanted = {pair for document in yaml.safe_load_all(file) for pair in references(document) if pair[0] not in ELSEWHERE}
    with open(secrets) as file:
        documents = [each for each in yaml.safe_load_all(file) if each["kind"] == "Secret"]
    made = {(each["metadata"]["name"], key) for each in documents for key in each["data"]}
    for name, key in sorted(wanted - made):
        print(f"the Secret {name} has no {key}")
    for name, key in sorted(made - wanted):
        print(f"nothing uses {key} of the Secret {name}")
    return 0 if wanted and wanted == made else 1


sys.exit(main(*sys.argv[1:]))
