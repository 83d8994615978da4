"""`make security`: look for known vulnerabilities, withdrawn releases, unsafe code and secrets, and write the SBOM."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from supply_chain import advisories, code, sbom, secret_scan, statements, withdrawn
from supply_chain.findings import CannotCheck, Check, Unavailable
from supply_chain.reviewed import Reviewed

PROJECT = Path(__file__).resolve().parents[1]
CHECKS: dict[str, Check] = {
    "advisories": advisories.findings,
    "withdrawn": withdrawn.findings,
    "code": code.findings,
    "statements": statements.findings,
    "secrets": secret_scan.findings,
    "history": secret_scan.findings_in_history,
    "sbom": sbom.findings,
}


STRICT = "SECURITY_STRICT"


def options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m supply_chain", description=__doc__)
    parser.add_argument("--only", choices=CHECKS, action="append", help="run this check; can be repeated")
    parser.add_argument("--folder", type=Path, default=PROJECT, help="check this copy of the repository")
    strict = f"fail if a service on the network cannot be reached; {STRICT}=true in the environment does the same"
    parser.add_argument("--strict", action="store_true", default=is_strict(os.environ.get(STRICT, "")), help=strict)
    return parser.parse_args(arguments)


def is_strict(value: str) -> bool:
    """:raises SystemExit: if it is neither `true` nor `false` nor empty"""
    if value not in {"", "true", "false"}:
        sys.exit(f"{STRICT} must be true or false, not {value!r}")
    return value == "true"


def main(arguments: list[str]) -> int:
    """Print the findings of each check, and last what nobody has checked. Return 1 if a check did not pass."""
    chosen = options(arguments)
    folder = chosen.folder.resolve()
    reviewed = Reviewed.read(folder)
    unchecked: list[str] = []
    results = [run(name, folder, reviewed, unchecked) for name in chosen.only or CHECKS]
    if unchecked:
        names = ", ".join(unchecked)
        print(f"NOT CHECKED: {names}. {STRICT}=true makes this a failure: see docs/security.md", file=sys.stderr)
    return 0 if all(results) and not (unchecked and chosen.strict) else 1


def run(name: str, folder: Path, reviewed: Reviewed, unchecked: list[str]) -> bool:
    """Run one check and print what it found. Return whether it found nothing; add its name if it could not look."""
    try:
        found = CHECKS[name](folder, reviewed)
    except Unavailable as error:
        print(f"{name}: NOT CHECKED: {error}", file=sys.stderr, flush=True)
        unchecked.append(name)
        return True
    except CannotCheck as error:
        print(f"{name}: FAILED: {error}", file=sys.stderr, flush=True)
        return False
    for finding in found:
        print(f"{name}: {finding}", file=sys.stderr, flush=True)
    print(f"{name}: {f'{len(found)} findings' if found else 'nothing found'}", flush=True)
    return not found


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
