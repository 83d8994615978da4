"""A client of the Edge API.

with HoldfastClient("http://127.0.0.1:8000") as holdfast:
    placed = holdfast.place_order(
        user_id="6b0f3b3e-0f0c-4a53-9d0a-6d1f4f1f2c11",
        email="ann@example.org",
        items=[{"product_id": "…", "quantity": 2}],
        payment_token="tok_visa",
    )
    order = holdfast.wait_until_terminal(placed.order_ledger_id)
"""

from holdfast_client.client import HoldfastClient
from holdfast_client.errors import (
    CurrencyMismatch,
    DuplicateSku,
    HoldfastError,
    IdempotencyKeyReused,
    InvalidWebhook,
    NotCancellable,
    NotFound,
    OrderNotRefundable,
    PaymentDeclined,
    RefundExceedsRemaining,
    RequestAbandoned,
    StillInProgress,
    Unauthorized,
    Unavailable,
    UnknownProduct,
    ValidationError,
)
from holdfast_client.models import (
    Cancellation,
    ChangedStock,
    Event,
    Failure,
    Item,
    Line,
    Order,
    PlacedOrder,
    Product,
    Refund,
    RefundItem,
    TimelineEntry,
)
from holdfast_client.webhook_models import Resent, WebhookDelivery, WebhookEndpoint
from holdfast_client.webhooks import verify_webhook

__all__ = [
    "Cancellation",
    "ChangedStock",
    "CurrencyMismatch",
    "DuplicateSku",
    "Event",
    "Failure",
    "HoldfastClient",
    "HoldfastError",
    "IdempotencyKeyReused",
    "InvalidWebhook",
    "Item",
    "Line",
    "NotCancellable",
    "NotFound",
    "Order",
    "OrderNotRefundable",
    "PaymentDeclined",
    "PlacedOrder",
    "Product",
    "Refund",
    "RefundExceedsRemaining",
    "RefundItem",
    "RequestAbandoned",
    "Resent",
    "StillInProgress",
    "TimelineEntry",
    "Unauthorized",
    "Unavailable",
    "UnknownProduct",
    "ValidationError",
    "WebhookDelivery",
    "WebhookEndpoint",
    "verify_webhook",
]
