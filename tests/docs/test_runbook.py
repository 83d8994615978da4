"""docs/runbook.md has an entry for each alert to people, and for each reason why an order or refund needs a person."""

from __future__ import annotations

import ast
import re

import pytest

from domain.states import HOLD_ENDS
from orchestrator import entry_statements, gateway_changes, participants, saga
from tests.database.test_boundaries import ROOT
from webhooks.alert_text import WORDS

PAGE = (ROOT / "docs" / "runbook.md").read_text(encoding="utf-8")
TABLE = PAGE.partition("## Needs attention")[2]
TAKES_A_REASON = {"_insist": 1, "_leave_out": 2, "Pending": 0}
"""Function of a saga → which of its arguments becomes the reason for attention."""


def templates() -> set[str]:
    """Every text that sagas give as a reason, with … where a value is put in."""
    found = set()
    for path in sorted((ROOT / "orchestrator").glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in TAKES_A_REASON:
                found |= set().union(*map(_texts, node.args[TAKES_A_REASON[node.func.id] :][:1]))
    return found


def _texts(node: ast.expr) -> set[str]:
    if isinstance(node, ast.Constant):
        return {node.value}
    if isinstance(node, ast.JoinedStr):
        return {"".join(part.value if isinstance(part, ast.Constant) else "…" for part in node.values)}
    return set()  # a name: the text comes from its caller


REASONS = {
    *templates(),
    *(f"… waits for {awaits}" for awaits in (saga.Deferred(0).awaits, participants.BUSY, participants.NOT_ALLOWED)),
    gateway_changes.FAILED_MESSAGE,
    f"{HOLD_ENDS} …",
    *(f"claimed … {end.strip()}" for end in re.findall(r"unproductive_claims \|\| '([^']+)'", entry_statements.TAKE)),
}
ACTIONS = {step.do for steps in (saga.SALE, saga.REFUND) for step in steps if not step.undo} | {
    undo for step in saga.SALE for undo in step.undo
}


def anchors() -> set[str]:
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def in_page(reason: str) -> re.Pattern[str]:
    """The reason in backticks, with a value or … in each place."""
    parts = map(re.escape, re.sub(r"…: …", "…", reason).split("…"))
    return re.compile("`" + "[^`]*".join(parts) + "[^`]*`")


def test_reasons_are_found() -> None:
    assert len(REASONS) >= 9
    assert "… was refused: …: …" in REASONS
    assert "the gateway has not settled the refund yet" in REASONS


@pytest.mark.parametrize("reason", sorted(REASONS))
def test_reason_for_attention_has_an_entry(reason: str) -> None:
    assert in_page(reason).search(TABLE), f"docs/runbook.md has no line for `{reason}`"


@pytest.mark.parametrize("action", sorted(ACTIONS - {participants.NOTE, "create_order"}))
def test_refusal_of_each_action_has_an_entry(action: str) -> None:
    """A refusal that is no reason for attention before the compensation is one during it."""
    assert f"`{action} was refused: …" in TABLE


@pytest.mark.parametrize("kind", WORDS)
def test_what_operators_are_told_has_an_entry(kind: str) -> None:
    assert WORDS[kind].runbook in anchors()
    assert f"Operators are told `{kind}`" in PAGE


def test_check_detects_a_missing_reason() -> None:
    assert not in_page("… ran away from …").search(TABLE)


def test_links_of_the_page_lead_somewhere() -> None:
    for page, anchor in re.findall(r"\]\(([\w./-]*)#([\w-]+)\)", PAGE):
        text = (ROOT / "docs" / page).read_text(encoding="utf-8") if page else PAGE
        headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}, (page, anchor)
