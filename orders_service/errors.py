"""Every "no" that the orders service can say: those of common/api/errors.py, spelled out for orders."""

from common.api.errors import InvalidStatusTransition, NotFound


def order_not_found(order_id: str) -> NotFound:
    return NotFound("There is no such order.", order_id=order_id)


def not_allowed(current_status: str, attempted_status: str) -> InvalidStatusTransition:
    return InvalidStatusTransition(
        f"The order is {current_status} and cannot become {attempted_status}.",
        current_status=current_status,
        attempted_status=attempted_status,
    )
