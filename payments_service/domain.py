"""What the tables, the bodies and the verbs of this service agree on."""

AUTHORIZED = "AUTHORIZED"
CAPTURED = "CAPTURED"  # wholly or in part; also while a part of it is refunded
VOIDED = "VOIDED"
REFUNDED = "REFUNDED"  # every captured cent
DECLINED = "DECLINED"
STATUSES = (AUTHORIZED, CAPTURED, VOIDED, REFUNDED, DECLINED)
IDEMPOTENCY_TABLE = "payment_idempotency_keys"
