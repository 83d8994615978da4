"""Strict JSON, and the reasons for which other text is refused."""

import pytest

from common.json_text.decode import MAX_DEPTH, NotJson, decode


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (b'{"a": [1, 2.5, null, true]}', {"a": [1, 2.5, None, True]}),
        ('"é\U0001f600"'.encode(), "é\U0001f600"),
        (rb'"\ud83d\ude00 \u00e9"', "\U0001f600 é"),
        (rb'"\\u0000"', r"\u0000"),
        (b"[" * MAX_DEPTH + b"]" * MAX_DEPTH, None),
    ],
)
def test_json_is_read(raw, value):
    assert value is None or decode(raw) == value
    decode(raw)


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"", "Expecting value"), (b"{} {}", "Extra data"), (b'"\xff"', "it is not UTF-8"),
        (b'"\x00"', "Invalid control"),
        (rb'"\u0000"', "a text contains NUL"), (rb'{"\u0000": 1}', "a text contains NUL"),
        (rb'"\ud800"', "a text contains half of a surrogate pair"), (rb'{"\udc00": 1}', "a text contains half"),
        (b'{"a": 1, "a": 1}', "a name is repeated"), (b"NaN", "NaN is not a number"),
        (b"1e999", "a number is too large"),
        (b"1" * 5000, "a number has too many digits"), (b"[" * 100_000, "it is nested too deeply"),
        (b"[" * (MAX_DEPTH + 1) + b"]" * (MAX_DEPTH + 1), "it is nested too deeply"),
        (b'{"a":' * (MAX_DEPTH + 1) + b"1" + b"}" * (MAX_DEPTH + 1), "it is nested too deeply"),
    ],
)  # fmt: skip
def test_anything_else_is_refused_with_the_reason(raw, reason):
    with pytest.raises(NotJson, match=f"^{reason}"):
        decode(raw)
