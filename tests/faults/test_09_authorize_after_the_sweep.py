"""Row 9: authorize arrives after the sweep. Required: refused; no hold leaks."""

from tests.faults.network_faults import Delay, Repeat
from tests.faults.proxied import ProxiedSystem
from tests.waiting import eventually


def test_authorize_after_the_sweep_is_refused(proxied: ProxiedSystem) -> None:
    proxied.proxy.on("authorize", do=(late := Delay(caller_gives_up=True)))
    proxied.proxy.on("void_by_key", do=Repeat())
    with proxied.other("web", ABANDONED_AFTER_S="1", LEASE_S="1") as web:
        assert proxied.post("key-1", web=web).status_code == 503
        eventually(lambda: proxied.open_orders() == 0)
        late.release()
        (authorize,) = eventually(lambda: [call for call in proxied.proxy.calls("authorize") if call.ended_at])
        again = proxied.post("key-1", web=web)

    assert authorize.statuses == [409]
    assert [call.statuses for call in proxied.proxy.calls("void_by_key")] == [[200, 200]]
    assert proxied.proxy.calls("capture") == []
    assert proxied.sql("SELECT status, amount_cents FROM payment_authorizations") == [
        {"status": "VOIDED", "amount_cents": None}
    ]
    assert (again.status_code, again.json()["error"]) == (409, "request_abandoned")
    proxied.settle()
