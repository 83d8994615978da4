"""Which `traceparent` is well formed."""

from __future__ import annotations

import pytest

from common.tracing.trace_parent import parse

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
VALID = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize("flags", ["00", "01", "02", "03"])
def test_well_formed_one_is_read_and_written(flags: str) -> None:
    text = f"00-{TRACE}-{SPAN}-{flags}"
    parsed = parse(text)
    assert parsed is not None
    assert (f"{parsed.trace_id:032x}", f"{parsed.span_id:016x}", parsed.flags) == (TRACE, SPAN, int(flags, 16))
    assert str(parsed) == text


@pytest.mark.parametrize("text", [f"01-{TRACE}-{SPAN}-01", f"cc-{TRACE}-{SPAN}-01-what-comes-later"])
def test_later_version_is_read_as_far_as_it_is_known(text: str) -> None:
    assert str(parse(text)) == VALID


def test_unknown_flags_are_not_passed_on() -> None:
    assert str(parse(f"00-{TRACE}-{SPAN}-ff")) == f"00-{TRACE}-{SPAN}-03"


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "00",
        VALID.upper(),
        f" {VALID}",
        f"{VALID}\n",
        f"{VALID}-more",
        f"{VALID},{VALID}",
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}0-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE[:-1]}٣-{SPAN}-01",
        f"01-{TRACE}-{SPAN}-01.more",
    ],
)
def test_any_other_is_ignored(text: str | None) -> None:
    assert parse(text) is None
