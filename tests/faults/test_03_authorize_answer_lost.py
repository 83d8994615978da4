"""Row 3: authorize's answer is lost. Required: the same key at the gateway, one hold."""

from tests.faults.network_faults import Cut, DropAnswer
from tests.faults.proxied import ProxiedSystem


def test_lost_authorize_answers_leave_one_hold(proxied: ProxiedSystem) -> None:
    proxied.proxy.on("authorize", times=2, do=DropAnswer())
    proxied.proxy.on("authorize", nth=3, do=Cut())
    answers = [proxied.post("key-1") for _ in range(5)]
    assert [answer.status_code for answer in answers] == [503, 503, 503, 202, 202]
    assert answers[0].json()["error"] == "gateway_error"
    assert answers[4].content == answers[3].content

    calls = proxied.proxy.calls("authorize")
    assert [call.statuses for call in calls] == [[200]] * 4
    assert len({call.json["idempotency_key"] for call in calls}) == 1
    assert len(proxied.sql("SELECT id FROM payment_authorizations")) == 1

    assert proxied.ended(answers[3].json()["order_ledger_id"]).status == "COMPLETED"
    proxied.settle()


def test_decline_with_lost_answer_stays_a_decline(proxied: ProxiedSystem) -> None:
    proxied.proxy.on("authorize", times=1, do=DropAnswer())
    answers = [proxied.post("key-1", token="tok_decline_expired") for _ in range(3)]
    assert [answer.status_code for answer in answers] == [503, 402, 402]
    assert answers[1].json()["details"]["decline_code"] == "card_expired"
    assert len(proxied.proxy.calls("authorize")) == 2
    proxied.settle()
