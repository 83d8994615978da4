"""Each planted design error is found, by the rule that it breaks."""

from __future__ import annotations

import pytest

from tests.model.planted import PLANTED
from tests.model.scenarios import SCENARIOS, first_violation
from tests.model.story import tell


@pytest.mark.parametrize("name", PLANTED)
def test_error_is_found(name: str) -> None:
    planted = PLANTED[name]
    violation = first_violation(SCENARIOS[planted.scenario], planted.design)
    assert violation, f"not found: {planted.error}"
    assert violation.reason.startswith(f"{planted.rule}: "), f"\n{tell(violation)}"
    assert len(tell(violation).splitlines()) > len(violation.path)


def test_a_violation_is_told_in_words() -> None:
    violation = first_violation(SCENARIOS["a sale"], PLANTED["nothing-is-a-decline"].design)
    assert violation
    assert tell(violation).splitlines() == [
        "  1. Client 1 sends the order. The Edge API commits its entry, with claim 1.",
        "  2. The Edge API with claim 1 on entry 1 asks payments to hold the money. It is handled (200 AUTHORIZED), and"
        " the answer is lost.",
        "  3. The Edge API with claim 1 on entry 1 commits AUTHORIZATION_FAILED (payment_declined), and answers 402.",
        "  ⇒  nothing_left: AUTHORIZATION_FAILED, and a hold is left",
        "     stock: 2 of 2",
        "     entry 1: AUTHORIZATION_FAILED, claim 1; order: none; reservation: none; payment: AUTHORIZED 700"
        " (captured 0, refunded 0)",
    ]
