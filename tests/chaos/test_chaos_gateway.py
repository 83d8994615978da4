"""The judge of the gateway's own books: one order that was paid there, then one difference at a time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from stripe_double import payments
from stripe_double.store import Store, opened
from tests.chaos.conftest import Judge
from tests.chaos.money_at_gateway import FILE
from tests.chaos.planted import KEY, PAID, RIGHT
from tests.chaos.test_chaos_refunds import REFUNDED, WITH_REFUND
from tests.database.valid_rows import ID, OTHER_ID

AT_GATEWAY = "money at the gateway:"


def held(store: Store, authorization: str = "auth_1", order: str = ID, amount: int = 999) -> str:
    of = {"holdfast_key": f"authorize:{order}", "holdfast_authorization": authorization}
    sale = {"amount": str(amount), "currency": "usd", "capture_method": "manual", "metadata": of}
    made = payments.create(store, sale)
    payments.confirm(store, {"payment_method": "pm_card_visa"}, made["id"])
    return str(made["id"])


def sold(store: Store, authorization: str = "auth_1", order: str = ID, amount: int = 999) -> str:
    id_ = held(store, authorization, order, amount)
    payments.capture(store, {}, id_)
    return id_


def refunded(store: Store, *ids: str) -> None:
    intent = sold(store)
    for id_ in ids:
        payments.refund(store, {"payment_intent": intent, "amount": "400", "metadata": {"holdfast_refund": id_}})


PLANTED: dict[str, tuple[Callable[[Store], object], str, str]] = {
    "wrong: nothing was captured there": (held, "", "wrong"),
    "wrong: less was captured there": (lambda store: sold(store, amount=998), "", "wrong"),
    "wrong: it never heard of the payment": (lambda store: None, "", "wrong"),
    "wrong: a second hold": (lambda store: (sold(store), held(store)), "", "wrong"),
    "doubled: a second charge": (lambda store: (sold(store), sold(store)), "", "doubled"),
    "wrong: a charge of no payment in our books": (
        lambda store: (sold(store), sold(store, "auth_9", OTHER_ID)), "", "wrong"
    ),
    "wrong: the sums agree, and the order is another one": (lambda store: sold(store, order=OTHER_ID), "", "wrong"),
    "wrong: a payment of ours that it does not have": (
        sold, PAID.format(n=2).replace(f"'{ID}'", f"'{OTHER_ID}'"), "wrong"
    ),
    "wrong: a refund that we did not note": (lambda store: refunded(store, "re_1"), "", "wrong"),
}  # fmt: skip
PLANTED_REFUNDS: dict[str, tuple[tuple[str, ...], str]] = {
    "doubled: it refunded nothing, and the customer has paid more": ((), "doubled"),
    "wrong: another refund": (("re_9",), "wrong"),
    "doubled: it refunded twice": (("re_1", "re_1"), "doubled"),
}


@pytest.fixture
def store_file(tmp_path: Path) -> Path:
    return tmp_path / FILE


def test_judge_accepts_the_same_money_at_the_gateway(judge: Judge, store_file: Path) -> None:
    with opened(store_file) as store:
        sold(store)
    assert judge(RIGHT) == (0, "Every promise was kept.")


def test_judge_accepts_the_same_refund_at_the_gateway(judge: Judge, store_file: Path) -> None:
    with opened(store_file) as store:
        refunded(store, "re_1")
    assert judge(WITH_REFUND, REFUNDED) == (0, "Every promise was kept.")


@pytest.mark.parametrize(("plant", "sql", "kind"), PLANTED.values(), ids=PLANTED.keys())
def test_judge_finds_other_money_at_the_gateway(
    judge: Judge, store_file: Path, plant: Callable[[Store], object], sql: str, kind: str
) -> None:
    with opened(store_file) as store:
        plant(store)
    code, words = judge(RIGHT, sql)
    assert code == 1
    assert AT_GATEWAY in words, words
    assert kind in words.partition("What")[2]


@pytest.mark.parametrize(("ids", "kind"), PLANTED_REFUNDS.values(), ids=PLANTED_REFUNDS.keys())
def test_judge_finds_another_refund_at_the_gateway(
    judge: Judge, store_file: Path, ids: tuple[str, ...], kind: str
) -> None:
    with opened(store_file) as store:
        refunded(store, *ids)
    code, words = judge(WITH_REFUND, REFUNDED)
    assert code == 1
    assert AT_GATEWAY in words, words
    assert kind in words.partition("What")[2]


def test_judge_names_the_order(judge: Judge, store_file: Path) -> None:
    with opened(store_file) as store:
        sold(store, amount=998)
    assert f"{KEY} {AT_GATEWAY} 998 cents paid, and 999 are due" in judge(RIGHT)[1]
