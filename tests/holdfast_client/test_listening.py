"""`holdfast webhooks listen` and `events tail`: what is sent, in which order, and again when; where the feed begins."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
import requests
import responses
from click.testing import CliRunner

from holdfast_client import Event, HoldfastClient, verify_webhook
from holdfast_client.cli.commands import holdfast
from holdfast_client.cli.feed import events_since, follow, newest_place
from holdfast_client.cli.tunnel import DELAYS_S, Answer, Delivery, Sender, Tunnel, as_line, new_secret
from tests.holdfast_client.test_client_events import event
from tests.holdfast_client.test_command_line import ORDER
from tests.holdfast_client.test_holdfast_client import EDGE, ID, PRODUCT

SHOP = "http://127.0.0.1:5000/holdfast"
SECRET = new_secret()
NO, YES = Answer(500), Answer(204)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
OTHER = PRODUCT


def an_event(number: int, **data: Any) -> Event:
    return Event.from_json(event(number, **data))


class Shop:
    """A receiver whose answers are given, and a clock that a test moves."""

    def __init__(self, *answers: Answer) -> None:
        self._answers, self.now = list(answers), 0.0
        self.heard: list[str] = []
        self.told: list[tuple[int, float | None]] = []
        self.tunnel = Tunnel(self._answer, self._tell, clock=lambda: self.now)

    def _answer(self, heard: Event) -> Answer:
        self.heard.append(heard.id[-1])
        return self._answers.pop(0) if self._answers else YES

    def _tell(self, delivery: Delivery, delay_s: float | None) -> None:
        self.told.append((delivery.attempts, delay_s))

    def gets(self, *events: Event) -> list[str]:
        for each in events:
            self.tunnel.add(each)
        self.tunnel.send_due()
        return self.heard

    def later(self, seconds: float) -> list[str]:
        self.now += seconds
        return self.gets()


def test_event_waits_for_the_one_before_it_of_its_order() -> None:
    shop = Shop(NO)
    assert shop.gets(an_event(1), an_event(2), an_event(3, order_ledger_id=OTHER)) == ["1", "3"]
    assert shop.later(DELAYS_S[0] - 0.1) == ["1", "3"]
    assert shop.later(0.1) == ["1", "3", "1", "2"]
    assert len(shop.tunnel) == 0


def test_event_is_sent_again_until_its_last_attempt() -> None:
    shop = Shop(*[NO] * 10)
    shop.gets(an_event(1))
    for delay in DELAYS_S:
        shop.later(delay)
    assert shop.told == [*((number + 1, delay) for number, delay in enumerate(DELAYS_S)), (len(DELAYS_S) + 1, None)]
    assert len(shop.tunnel) == 0


@pytest.mark.parametrize("answer", [Answer(302), Answer(400), Answer(503), Answer(None, "no answer")])
def test_anything_but_2xx_is_sent_again(answer: Answer) -> None:
    shop = Shop(answer)
    shop.gets(an_event(1))
    assert shop.told == [(1, DELAYS_S[0])]


def test_410_is_not_sent_again_and_lets_the_next_event_pass() -> None:
    shop = Shop(Answer(410))
    assert shop.gets(an_event(1), an_event(2)) == ["1", "2"]
    assert shop.told == [(1, None), (1, None)]


@pytest.fixture
def fake() -> Iterator[responses.RequestsMock]:
    with responses.RequestsMock() as mock:
        yield mock


def test_webhook_is_signed_and_has_the_body_of_the_feed(fake: responses.RequestsMock) -> None:
    fake.post(SHOP, status=204)
    data = {"refund_id": PRODUCT, "of_a_newer_server": [1]}
    assert Sender(SHOP, SECRET).send(an_event(7, **data)).is_yes
    request = fake.calls[0].request
    body = {name: value for name, value in event(7, **data).items() if name != "id"}
    assert verify_webhook(request.headers, request.body or b"", SECRET) == body
    assert request.headers["webhook-id"] == event(7)["id"]


@pytest.mark.parametrize(
    ("error", "problem"),
    [
        (requests.ConnectionError(), "no answer: is the receiver running?"),
        (requests.Timeout(), "no answer within 15 s"),
        (requests.exceptions.ContentDecodingError(), "no answer: ContentDecodingError"),
    ],
)
def test_receiver_without_an_answer_is_described(fake: responses.RequestsMock, error: Exception, problem: str) -> None:
    fake.post(SHOP, body=error)
    answer = Sender(SHOP, SECRET).send(an_event(1))
    assert as_line(Delivery(an_event(1), 1, answer=answer), None)["problem"] == problem


# The feed


@pytest.fixture
def client() -> Iterator[HoldfastClient]:
    with HoldfastClient(EDGE, retry_for=0) as client:
        yield client


def queries(fake: responses.RequestsMock, path: str) -> list[dict[str, str]]:
    urls = [urlsplit(call.request.url or "") for call in fake.calls]
    return [dict(parse_qsl(url.query)) for url in urls if url.path == path]


def page(*events: dict[str, Any]) -> dict[str, Any]:
    return {"events": list(events), "next_after": events[-1]["id"] if events else None}


def at(number: int, time: datetime) -> dict[str, Any]:
    return event(number) | {"timestamp": time.isoformat()}


def test_feed_since_a_time_begins_at_an_order_before_it(fake: responses.RequestsMock, client: HoldfastClient) -> None:
    fake.get(f"{EDGE}/orders", json={"orders": [ORDER], "next_cursor": None})
    fake.get(f"{EDGE}/events", json=page(at(1, NOW - timedelta(hours=1))))
    fake.get(f"{EDGE}/events", json=page(at(2, NOW - timedelta(seconds=1)), at(3, NOW), at(4, NOW)))
    fake.get(f"{EDGE}/events", json=page())
    assert [found.id[-1] for found in events_since(client, NOW)] == ["3", "4"]
    assert queries(fake, "/orders")[0]["created_before"] == "2026-11-22T11:50:00Z"
    of_order, first, _ = queries(fake, "/events")
    assert of_order["order_ledger_id"] == ID
    assert first["after"] == event(1)["id"]


def test_feed_since_a_time_begins_with_the_oldest_event_if_no_order_is_older(
    fake: responses.RequestsMock, client: HoldfastClient
) -> None:
    fake.get(f"{EDGE}/orders", json={"orders": [ORDER], "next_cursor": None})
    fake.get(f"{EDGE}/events", json=page(at(1, NOW)))  # the order's first event came late
    fake.get(f"{EDGE}/events", json=page(at(1, NOW)))
    fake.get(f"{EDGE}/events", json=page())
    assert [found.id[-1] for found in events_since(client, NOW)] == ["1"]
    assert "after" not in queries(fake, "/events")[1]


def test_newest_place_is_the_end_of_the_feed(fake: responses.RequestsMock, client: HoldfastClient) -> None:
    fake.get(f"{EDGE}/orders", json={"orders": [], "next_cursor": None})
    fake.get(f"{EDGE}/events", json=page(event(1), event(2)))
    fake.get(f"{EDGE}/events", json=page())
    assert newest_place(client) == event(2)["id"]


def test_feed_is_followed_through_an_outage(
    fake: responses.RequestsMock, client: HoldfastClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("holdfast_client.cli.feed.PAUSE_WITHOUT_ANSWER_S", 0)
    fake.get(f"{EDGE}/events", json=page(event(1)))
    fake.get(f"{EDGE}/events", body=requests.ConnectionError())
    fake.get(f"{EDGE}/events", json=page(event(2)))
    fake.get(f"{EDGE}/events", json=page())
    found = follow(client, None)
    assert [next(found) for _ in range(2)] == [an_event(1), None]
    assert [next(found) for _ in range(2)] == [an_event(2), None]
    assert [query.get("after", "")[-1:] for query in queries(fake, "/events")] == ["", "1", "1", "2"]


# Resending


def resend(fake: responses.RequestsMock, *words: str, status: int = 204) -> Any:
    fake.get(f"{EDGE}/orders", json={"orders": [], "next_cursor": None})
    fake.get(f"{EDGE}/events", json=page(at(1, datetime.now(UTC)), at(2, datetime.now(UTC))))
    fake.get(f"{EDGE}/events", json=page())
    fake.post(SHOP, status=status)
    fake.assert_all_requests_are_fired = False
    command = ["--url", EDGE, "--api-key", "hf_a_b", "webhooks", "resend", "--forward-to", SHOP, "-o", "jsonl"]
    return CliRunner().invoke(holdfast, [*command, *words], env={"HOLDFAST_WEBHOOK_SECRET": SECRET})


def test_event_is_resent_with_its_id(fake: responses.RequestsMock) -> None:
    told = resend(fake, str(event(2)["id"]))
    assert (told.exit_code, json.loads(told.stdout)["status"]) == (0, 204)
    assert fake.calls[-1].request.headers["webhook-id"] == event(2)["id"]


def test_resending_ends_with_1_if_it_is_refused_or_not_found(fake: responses.RequestsMock) -> None:
    told = resend(fake, str(event(1)["id"]), status=500)
    assert told.exit_code == 1
    assert "1 of 1 events were not accepted" in told.stderr


def test_resending_ends_with_1_if_there_is_no_such_event(fake: responses.RequestsMock) -> None:
    told = resend(fake, "evt_unknown")
    assert told.exit_code == 1
    assert "Not found: evt_unknown" in told.stderr
