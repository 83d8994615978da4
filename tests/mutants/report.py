"""The output of `make mutants`, and the page docs/mutants.md."""

from __future__ import annotations

from itertools import groupby

from tests.mutants.proof import Verdict

HEAD = """\
# Each protection and the test that fails without it

A test proves a protection only if it fails without it. `make mutants` removes each of these protections from a copy of
the code, one at a time, and runs the tests that must then fail. Each of them failed, and all of them passed before.
The edits are in `tests/mutants/*.toml`; `make mutants ONLY=save-checks-the-claim-number` runs one of them. The command
wrote this page.
(No write checks whether its lease still runs: the claim number and the status reveal a late write.)
"""


def line(verdict: Verdict) -> str:
    """One mutant's outcome, printed as soon as it is known."""
    outcome = "failed" if verdict.test else "SURVIVED"
    return f"{outcome:<8}  {verdict.seconds:5.1f} s  {verdict.mutant.name:<48}  {verdict.test or ''}".rstrip()


def table(verdicts: list[Verdict]) -> str:
    """For a terminal: protection, section, failed test, seconds."""
    rows = [("protection", "§", "test that failed", "seconds")]
    rows += [(v.mutant.name, v.mutant.section[:1], _shown(v), f"{v.seconds:.1f}") for v in verdicts]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def document(verdicts: list[Verdict]) -> str:
    """docs/mutants.md. Without times, so that it changes only when the list does."""
    text = HEAD
    for section, members in groupby(verdicts, key=lambda verdict: verdict.mutant.section):
        text += f"\n## {section}\n\n| Mutant | Protection that is removed | Test that fails |\n| --- | --- | --- |\n"
        for verdict in members:
            text += f"| `{verdict.mutant.name}` | {verdict.mutant.protects} | `{_shown(verdict)}` |\n"
    return text


def _shown(verdict: Verdict) -> str:
    """The test without its parameters and without the folder that contains all tests."""
    return (verdict.test or "NONE").partition("[")[0].removeprefix("tests/")
