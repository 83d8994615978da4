"""What `make mutants` shows and what it writes into docs/mutants.md."""

from __future__ import annotations

from itertools import groupby

from tests.mutants.proof import Verdict

HEAD = """\
# Each protection and the test that misses it

A test proves a protection only if it fails without it. `make mutants` takes each of these out of a copy of the code, in
turn, and runs the tests that are to miss it: every one of them turned red, and all were green before. The edits are in
`tests/mutants/*.toml`; `make mutants ONLY=fence-claim-number` runs one of them. The command wrote this page.
(No write asks whether its lease still runs: what comes too late is told by claim number and status, `fence-*`.)
"""


def line(verdict: Verdict) -> str:
    """One mutant's outcome, as it comes in."""
    outcome = "red" if verdict.test else "NOT MISSED"
    return f"{outcome:<10}  {verdict.seconds:5.1f} s  {verdict.mutant.name:<32}  {verdict.test or ''}".rstrip()


def table(verdicts: list[Verdict]) -> str:
    """For a terminal: protection, section, test that misses it, seconds."""
    rows = [("protection", "§", "test that misses it", "seconds")]
    rows += [(v.mutant.name, v.mutant.section[:1], _shown(v), f"{v.seconds:.1f}") for v in verdicts]
    widths = [max(len(row[column]) for row in rows) for column in range(4)]
    return "\n".join("  ".join(map(str.ljust, row, widths)).rstrip() for row in rows)


def document(verdicts: list[Verdict]) -> str:
    """docs/mutants.md. Without times, so that it changes only when the list does."""
    text = HEAD
    for section, members in groupby(verdicts, key=lambda verdict: verdict.mutant.section):
        text += (
            f"\n## {section}\n\n| Mutant | Protection that is taken out | Test that misses it |\n| --- | --- | --- |\n"
        )
        for verdict in members:
            text += f"| `{verdict.mutant.name}` | {verdict.mutant.protects} | `{_shown(verdict)}` |\n"
    return text


def _shown(verdict: Verdict) -> str:
    """The test without its parameters and without the folder that all tests are in."""
    return (verdict.test or "NONE").partition("[")[0].removeprefix("tests/")
