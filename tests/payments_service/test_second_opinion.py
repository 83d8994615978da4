"""The gateway contract once more, with a stand-in for Stripe that we did not write."""

from __future__ import annotations

import threading

import pytest

from common.process.settings import Settings
from payments_service.app import create_app
from tests import credentials
from tests.payments_service.conftest import Payments
from tests.payments_service.second_opinion import SecondOpinion, Translator, served
from tests.payments_service.stripe_worlds import KEY
from tests.payments_service.test_gateway_contract import (
    authorized,
    captured,
    payments,
    test_authorize_that_arrives_after_its_void_is_refused,
    test_capture_whose_answer_was_lost_is_found_by_the_void,
    test_card_is_declined_with_its_code,
    test_hold_whose_answer_was_lost_is_found_by_its_key,
    test_lost_answer_is_no_decline_and_the_repeat_moves_the_money_once,
    test_part_of_a_hold_is_captured_and_the_rest_is_free,
    test_refunds_in_parts_never_exceed_the_capture,
    test_repeat_gets_the_first_answer,
    test_sale,
    test_void_after_a_capture_is_refused_and_the_money_can_be_refunded,
    test_void_by_key_frees_what_is_held,
    test_void_by_key_of_a_declined_card,
    test_void_by_key_of_captured_money_is_refused,
    test_void_frees_the_hold_once_and_for_all,
)

__all__ = [  # fixtures, and tests of the contract
    "authorized", "captured", "payments",
    "test_authorize_that_arrives_after_its_void_is_refused", "test_capture_whose_answer_was_lost_is_found_by_the_void",
    "test_card_is_declined_with_its_code", "test_hold_whose_answer_was_lost_is_found_by_its_key",
    "test_lost_answer_is_no_decline_and_the_repeat_moves_the_money_once",
    "test_part_of_a_hold_is_captured_and_the_rest_is_free", "test_refunds_in_parts_never_exceed_the_capture",
    "test_repeat_gets_the_first_answer", "test_sale",
    "test_void_after_a_capture_is_refused_and_the_money_can_be_refunded", "test_void_by_key_frees_what_is_held",
    "test_void_by_key_of_a_declined_card", "test_void_by_key_of_captured_money_is_refused",
    "test_void_frees_the_hold_once_and_for_all",
]  # fmt: skip


@pytest.fixture(scope="module")
def translator(tmp_path_factory):
    with served(tmp_path_factory.mktemp("second_opinion") / "log") as url, Translator(url) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def app(translator, migrated_url):
    base = f"http://127.0.0.1:{translator.server_port}"
    stripe = {"PAYMENT_GATEWAY": "stripe", "STRIPE_API_KEY": KEY, "STRIPE_API_BASE": base}
    usual = {"DATABASE_URL": migrated_url, "LOG_LEVEL": "ERROR", **credentials.SETTINGS}
    return create_app(Settings.load({**usual, **stripe}, "payments_service"))


@pytest.fixture
def world(translator, app, url):
    translator.renew()
    return SecondOpinion(Payments(app, url), translator)
