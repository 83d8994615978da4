"""Constants shared by the tables, the schemas and the operations of this service."""

MAX_STOCK = 2_147_483_647  # what an integer column holds
RESERVED, RELEASED = "RESERVED", "RELEASED"
ONLY_MORE = ("warehouse_receiving", "return_to_stock")
MORE_OR_LESS = ("manual_adjustment", "correction")
INITIAL_STOCK = "initial_stock"
IDEMPOTENCY_TABLE = "inventory_idempotency_keys"
