"""Combinations of settings that would break a guarantee are refused, all in one message."""

from __future__ import annotations

import pytest

from common.calls import client
from common.process import consistency
from common.process.settings import SettingError, Settings


def load(**environ: str) -> Settings:
    return Settings.load({"DATABASE_URL": "postgresql:///x", **environ})


def refusal(**environ: str) -> list[str]:
    with pytest.raises(SettingError) as caught:
        load(**environ)
    return [line.split()[0] for line in str(caught.value).splitlines()]


@pytest.mark.parametrize("environment", ["development", "staging", "production"])
def test_all_problems_are_named_in_one_message(environment: str) -> None:
    found = refusal(LEASE_S="5", ABANDONED_AFTER_S="1", APP_ENV=environment)
    assert found == ["LEASE_S", "ABANDONED_AFTER_S"]


def test_all_bad_values_are_named_in_one_message() -> None:
    assert refusal(PORT="many", WEB_THREADS="0", MOCK_FAILURE_RATE="2") == ["PORT", "WEB_THREADS", "MOCK_FAILURE_RATE"]


def test_request_must_not_be_closed_during_its_own_lease() -> None:
    assert refusal(LEASE_S="90") == ["ABANDONED_AFTER_S"]
    assert load(LEASE_S="90", ABANDONED_AFTER_S="90").lease_s == 90


def test_lease_covers_two_calls() -> None:
    assert client.CONNECT_TIMEOUT_S + client.READ_TIMEOUT_S == consistency.CALL_S
    assert consistency.SHORTEST_LEASE_S * 0.75 > 2 * consistency.CALL_S
    assert load(LEASE_S=str(consistency.SHORTEST_LEASE_S))
    assert refusal(LEASE_S=str(consistency.SHORTEST_LEASE_S - 1)) == ["LEASE_S"]


def test_lease_of_a_delivery_covers_one_attempt() -> None:
    assert refusal(WEBHOOK_LEASE_S="10", WEBHOOK_TIMEOUT_S="10") == ["WEBHOOK_LEASE_S"]
    assert load(WEBHOOK_LEASE_S="10", WEBHOOK_TIMEOUT_S="9").webhook_lease_s == 10


def test_tests_may_use_shorter_times() -> None:
    assert load(LEASE_S="0.2", ABANDONED_AFTER_S="0.05", APP_ENV="test").lease_s == 0.2


def test_crash_points_cannot_be_armed_in_production() -> None:
    assert refusal(CRASH_AT="edge", APP_ENV="production") == ["CRASH_AT"]
    assert load(CRASH_AT="edge", APP_ENV="staging").crash_at == "edge"


def test_key_is_refused_for_at_least_as_long_as_its_order_is_kept() -> None:
    assert refusal(RETAIN_KEYS_DAYS="400", RETAIN_ORDERS_DAYS="401") == ["RETAIN_KEYS_DAYS"]
    assert load(RETAIN_KEYS_DAYS="400", RETAIN_ORDERS_DAYS="400").retain_keys_days == 400
    assert load(RETAIN_KEYS_DAYS="0", RETAIN_ORDERS_DAYS="900").retain_keys_days == 0
