"""Constants shared by the tables, the schemas and the operations of this service."""

RESERVED, RELEASED = "RESERVED", "RELEASED"
INITIAL_STOCK = "initial_stock"
IDEMPOTENCY_TABLE = "inventory_idempotency_keys"
