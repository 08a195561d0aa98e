"""Reads the suite's reports and says how it went: python3 check.py reports/index.json <cases expected>. Ends with "N passed, N failed"."""

import json
import pathlib
import sys

# INFORMATIONAL cases only tell what was done where the standard leaves it open; NON-STRICT ones are within it as well.
GOOD = {"OK", "NON-STRICT", "INFORMATIONAL"}
# How a connection was closed is judged apart.
GOOD_CLOSE = {"OK", "INFORMATIONAL"}


def main():
    path, expected = pathlib.Path(sys.argv[1]), int(sys.argv[2])
    (cases,) = json.loads(path.read_text()).values()
    failed = {
        case: outcome
        for case, outcome in cases.items()
        if outcome["behavior"] not in GOOD or outcome["behaviorClose"] not in GOOD_CLOSE
    }
    for case, outcome in sorted(failed.items()):
        print(f"FAIL {case}: {outcome['behavior']}, closing: {outcome['behaviorClose']} ({path.parent / outcome['reportfile']})")
    if len(cases) != expected:
        print(f"FAIL {len(cases)} cases were run, not {expected}")
    print(f"{len(cases) - len(failed)} passed, {len(failed)} failed")
    sys.exit(bool(failed) or len(cases) != expected)


if __name__ == "__main__":
    main()
