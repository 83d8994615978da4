"""Row 37: 1,000 sagas due at once after an outage.

Required: never more in flight than threads; a down participant is probed, not hammered.
"""

from __future__ import annotations

from contextlib import closing

from common.calls.breaker import OPENS_AFTER
from tests.faults.claims import watching_claims
from tests.faults.network_faults import DropRequest
from tests.faults.proxy import Proxy
from tests.faults.shared_stack import ORCHESTRATORS, SharedStack
from tests.waiting import eventually

SAGAS = 1000
THREADS = 6
PAUSE_S = 0.2


def test_thousand_due_sagas_use_only_free_threads_and_probe_a_dead_participant(
    stack: SharedStack,
) -> None:
    """All sagas meet an orders service that is down; then it returns."""
    stack.end(*ORCHESTRATORS)
    stack.backlog(SAGAS, [stack.product() for _ in range(10)])
    with closing(Proxy({"orders_service": stack.url("orders_service")})) as proxy, watching_claims(stack) as claims:
        proxy.on(do=DropRequest())
        stack.start(
            *ORCHESTRATORS,
            WORKER_THREADS=str(THREADS),
            ORDERS_SERVICE_URL=proxy.url("orders_service"),
            RETRY_BASE_S=str(PAUSE_S),
        )
        began = stack.sql("SELECT clock_timestamp()")[0][0]
        eventually(lambda: stack.count("order_ledger WHERE status_detail IS NOT NULL") == SAGAS, 120)
        calls = len(proxy.calls())
        ((seconds,),) = stack.sql("SELECT extract(epoch FROM clock_timestamp() - %(began)s)::float", began=began)
        # For each orchestrator: the calls that opened its breaker, those in flight by then, and a probe for each pause.
        assert calls <= 2 * (OPENS_AFTER + THREADS + seconds / PAUSE_S)
        assert calls < SAGAS / 2
        proxy.heal()
        stack.settle(180)
        assert stack.by_status() == {"COMPLETED": SAGAS}
        assert claims.worst("claimed") == THREADS
        assert (claims.with_two_owners(), claims.of_leased_orders()) == (0, 0)
