"""Calls about refunds: return the money of a completed order, all of it or a part."""

from __future__ import annotations

import uuid
from collections.abc import Sequence

import requests

from holdfast_client.calls import Calls, Id, given, path_of
from holdfast_client.models import Line, Refund


class RefundCalls(Calls):
    """The part of HoldfastClient that is about refunds."""

    def refund(
        self,
        order_ledger_id: Id,
        *,
        reason: str,
        amount_cents: int | None = None,
        items: Sequence[Line] | None = None,
        restock: bool = False,
        note: str | None = None,
        dry_run: bool = False,
        idempotency_key: str | None = None,
    ) -> Refund:
        """Refund a completed order exactly once: an amount, some pieces, or all that is left.

        The refund is `PENDING` at first; `get_refund` shows how it ends, which may take days.

        :param reason: `requested_by_customer`, `duplicate`, `fraudulent`, `out_of_stock` or `other`
        :param amount_cents: in the smallest unit of the order's currency; not together with `items`
        :param items: pieces, at the prices at which they were bought
        :param restock: whether the pieces go back into stock; not together with `amount_cents`
        :param dry_run: return what would be refunded, and do nothing
        :param idempotency_key: your name for this refund, as for `place_order`
        :raises OrderNotRefundable: the order is not completed
        :raises RefundExceedsRemaining: so much is not left
        :raises NotFound: the order does not exist, or belongs to another client
        :raises HoldfastError: any other refusal; `Unavailable` when it is unknown whether it is refunded
        """
        body = {"reason": reason} | given(
            amount_cents=amount_cents,
            items=None if items is None else [dict(item) for item in items],
            restock=restock or None,
            note=note,
        )
        key = str(uuid.uuid4()) if idempotency_key is None else idempotency_key
        params = {"dry_run": "true"} if dry_run else None
        return self._call("POST", _refunds_of(order_ledger_id), _refund, key=key, json=body, params=params)

    def refunds(self, order_ledger_id: Id) -> list[Refund]:
        """Return the refunds of an order, the oldest first.

        :raises NotFound: the order does not exist, or belongs to another client
        :raises HoldfastError: any other refusal; `Unavailable` when no answer came
        """
        return self._call("GET", _refunds_of(order_ledger_id), _refunds)

    def get_refund(self, refund_id: Id, wait: float | None = None) -> Refund:
        """Return the current state of a refund.

        :param wait: seconds, at most 30, for which the server may delay its answer until the refund has ended
        :raises NotFound: the refund does not exist, or belongs to another client
        :raises HoldfastError: any other refusal; `Unavailable` when no answer came
        """
        params = None if wait is None else {"wait": f"{wait:g}"}
        return self._call("GET", path_of("refunds", refund_id), _refund, wait=wait or 0, params=params)


def _refunds_of(order_ledger_id: Id) -> str:
    return f"{path_of('orders', order_ledger_id)}/refunds"


def _refund(response: requests.Response) -> Refund:
    return Refund.from_json(response.json())


def _refunds(response: requests.Response) -> list[Refund]:
    return [Refund.from_json(each) for each in response.json()["refunds"]]
