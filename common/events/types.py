"""The types of events."""

ORDER_TYPES = (
    *("order.authorized", "order.authorization_failed"),
    *("order.completed", "order.failed", "order.cancelled"),
)
REFUND_TYPES = ("refund.succeeded", "refund.failed")
TYPES = (*ORDER_TYPES, *REFUND_TYPES)
