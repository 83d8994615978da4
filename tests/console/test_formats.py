"""How values are shown."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from console import formats


@pytest.mark.parametrize(("cents", "currency", "shown"), [
    (0, "USD", "0.00 USD"), (5, "USD", "0.05 USD"), (1250, "USD", "12.50 USD"), (123456789, "EUR", "1,234,567.89 EUR"),
    (-5, "USD", "−0.05 USD"), (-1250, "USD", "−12.50 USD"), (1250, "JPY", "1,250 JPY"), (0, "JPY", "0 JPY"),
    (1250, "KWD", "1.250 KWD"), (1, "KWD", "0.001 KWD"), (None, "USD", "–"),
])  # fmt: skip
def test_money_has_the_decimals_of_its_currency(cents: int | None, currency: str, shown: str) -> None:
    assert formats.money(cents, currency) == shown


@pytest.mark.parametrize(("ms", "shown"), [
    (None, "–"), (0, "0 ms"), (999.4, "999 ms"), (1000, "1.0 s"), (119_000, "119.0 s"), (120_000, "2 min"),
    (7_140_000, "119 min"), (7_200_000, "2 h"), (86_400_000, "24 h"),
])  # fmt: skip
def test_duration_is_rounded_to_what_a_person_needs(ms: float | None, shown: str) -> None:
    assert formats.took(ms) == shown


def test_time_is_shown_in_utc_until_the_browser_changes_it() -> None:
    at = datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=UTC)
    shown = '<time datetime="2026-01-02T03:04:05.678901+00:00">2026-01-02 03:04:05 UTC</time>'
    assert formats.when(at) == formats.when(at.isoformat()) == shown
    assert formats.when("2026-01-02T05:04:05.678901+02:00") == shown
    assert formats.when(None) == "–"


@pytest.mark.parametrize(
    ("name", "shown"), [("PAYMENT_CAPTURED", "payment captured"), ("void_payment", "void payment")]
)
def test_names_are_words(name: str, shown: str) -> None:
    assert formats.words(name) == shown


def test_long_ids_are_short_in_tables() -> None:
    assert formats.short("01890a5d-ac96-774b-bcce-b302099a8057") == "…099a8057"
    assert formats.short("0123456789") == "0123456789"
