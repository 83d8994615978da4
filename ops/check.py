"""`python -m ops check`: find problems of the database and the settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping

import psycopg2

from common.database.soundness import Problem
from ops.checks.every import CHECKS
from ops.checks.look import Check, Look
from ops.database import opened

FINE, PROBLEMS = 0, 1
NOT_ANSWERED = (
    psycopg2.errors.InsufficientPrivilege,
    psycopg2.errors.UndefinedFunction,
    psycopg2.errors.UndefinedTable,
    psycopg2.errors.UndefinedColumn,
)
TIMEOUT_S = 30

Report = list[tuple[Check, list[Problem]]]


def check(environ: Mapping[str, str] | None) -> Report:
    """Run every check. :returns: each with the problems that it found :raises Unusable: the database does not answer"""
    with opened(environ, timeout_s=TIMEOUT_S, readonly=True) as database:
        look = Look(*database)
        return [(each, _problems(each, look)) for each in CHECKS]


def _problems(each: Check, look: Look) -> list[Problem]:
    look.tx.execute("SAVEPOINT one_check")
    try:
        return list(each.find(look))
    except NOT_ANSWERED as error:
        look.tx.execute("ROLLBACK TO SAVEPOINT one_check")
        reason = str(error).strip().partition("\n")[0]
        is_missing = not isinstance(error, psycopg2.errors.InsufficientPrivilege)
        remedy = "python -m ops migrate" if is_missing else "run the check as the owner of the tables"
        return [Problem(f"cannot be checked: {reason}", remedy)]


def as_text(report: Report) -> str:
    lines = []
    for each, problems in report:
        lines += [f"PROBLEM  {each.name:<12}  {problem.what}  →  {problem.remedy}" for problem in problems]
        lines += [] if problems else [f"ok       {each.name:<12}  {each.fine}"]
    found = sum(len(problems) for _, problems in report)
    lines.append(f"{len(report)} checks, {found or 'no'} problem{'s' if found > 1 else ''}")
    return "".join(f"{line}\n" for line in lines)


def as_json(report: Report) -> str:
    checks = [
        {"name": each.name, "ok": not problems, "problems": [problem._asdict() for problem in problems]}
        for each, problems in report
    ]
    return json.dumps({"ok": all(each["ok"] for each in checks), "checks": checks}, indent=2) + "\n"


FORMATS = {"text": as_text, "json": as_json}


def run(environ: Mapping[str, str] | None, form: str) -> int:
    """Print the report. :returns: 0 without a problem, else 1 :raises Unusable:"""
    report = check(environ)
    sys.stdout.write(FORMATS[form](report))
    sys.stdout.flush()  # an error in writing must change the exit code
    return PROBLEMS if any(problems for _, problems in report) else FINE
