"""The refusals of the orders service: shared ones, with messages about orders."""

from __future__ import annotations

from common.api import errors


class OrderNotFound(errors.NotFound):
    """There is no such order."""

    def __init__(self, order_id: str) -> None:
        super().__init__(order_id=order_id)


class InvalidStatusTransition(errors.InvalidStatusTransition):
    """The order's status does not allow this."""

    def __init__(self, current_status: str, attempted_status: str) -> None:
        super().__init__(
            f"The order is {current_status} and cannot become {attempted_status}.",
            current_status=current_status,
            attempted_status=attempted_status,
        )
