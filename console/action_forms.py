"""The form of a refund, as the body that the API takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from common.api.errors import ValidationFailed
from console.formats import cents_of
from console.forms import filled, whole_number

PIECES = "pieces:"
RESTOCK = "restock"
AMOUNT = "amount"
# What can be refunded → the fields that belong to it.
FIELDS = {"whole": (RESTOCK,), "amount": (AMOUNT,), "items": (PIECES, RESTOCK)}
CHOICES = {"whole": "all that is left", "amount": "an amount", "items": "pieces"}
# A field that belongs to another choice → what is wrong with it.
OTHERS = {
    "amount": "an amount is typed, too: empty the amount, or choose it",
    "pieces": "a number of pieces is typed, too: empty the pieces, or choose them",
    "restock": "“Put the pieces back into stock” is ticked, too: untick it, or choose pieces",
}


def refund_body(form: Mapping[str, str], currency: str) -> dict[str, Any]:
    """:raises ValidationFailed: nothing was chosen, a field of another choice is filled, or one cannot be read"""
    what = form.get("what", "")
    if what not in FIELDS:
        raise ValidationFailed(what=["Choose what to refund."])
    _check_others_are_empty(form, what)
    body = filled(form, "reason", "note")
    if what == "amount":
        return body | {"amount_cents": _cents(form, currency)}
    body[RESTOCK] = form.get(RESTOCK) == "on"
    return body | {"items": _items(form)} if what == "items" else body


def _check_others_are_empty(form: Mapping[str, str], what: str) -> None:
    """Whoever typed an amount must not refund the whole order by a forgotten choice."""
    filled_in = [name for name in form if _is_filled(form, name) and not name.startswith(FIELDS[what])]
    wrong = dict.fromkeys(name.partition(":")[0] for name in filled_in)
    if wrong:
        raise ValidationFailed(**{name: [f"You chose {CHOICES[what]}, and {OTHERS[name]}."] for name in wrong})


def _is_filled(form: Mapping[str, str], name: str) -> bool:
    given = form[name].strip()
    if name.startswith(PIECES):
        return given.strip("0") != ""
    return name in (AMOUNT, RESTOCK) and given != ""


def _cents(form: Mapping[str, str], currency: str) -> int:
    try:
        return cents_of(form.get(AMOUNT, ""), currency)
    except ValueError as error:
        raise ValidationFailed(amount=[str(error)]) from None


def _items(form: Mapping[str, str]) -> list[dict[str, Any]]:
    wanted = [name for name in form if name.startswith(PIECES) and _is_filled(form, name)]
    if not wanted:
        raise ValidationFailed(pieces=["Say how many pieces of which product."])
    return [{"product_id": name.removeprefix(PIECES), "quantity": whole_number(form, name)} for name in wanted]
