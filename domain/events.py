"""What a shop is told about its orders. The database writes these events with the changes that they tell of."""

from enum import StrEnum


class EventType(StrEnum):
    ORDER_AUTHORIZED = "order.authorized"
    ORDER_AUTHORIZATION_FAILED = "order.authorization_failed"
    ORDER_COMPLETED = "order.completed"
    ORDER_FAILED = "order.failed"
    ORDER_CANCELLED = "order.cancelled"
    REFUND_SUCCEEDED = "refund.succeeded"
    REFUND_FAILED = "refund.failed"
