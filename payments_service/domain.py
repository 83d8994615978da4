"""Constants shared by the tables, the schemas and the operations of this service."""

AUTHORIZED = "AUTHORIZED"
CAPTURED = "CAPTURED"  # in full or in part; also after a partial refund
VOIDED = "VOIDED"
REFUNDED = "REFUNDED"  # every captured cent
DECLINED = "DECLINED"
PENDING = "PENDING"  # of a refund: the gateway has not settled it yet
FAILED = "FAILED"  # of a refund: the gateway had reported it as done, and has failed it later
REFUND_STATUSES = (PENDING, REFUNDED, FAILED)
STATUSES = (AUTHORIZED, CAPTURED, VOIDED, REFUNDED, DECLINED)
IDEMPOTENCY_TABLE = "payment_idempotency_keys"
