"""Constants shared by the tables, the schemas and the operations of this service."""

CREATED, CONFIRMED, CANCELLED = "CREATED", "CONFIRMED", "CANCELLED"
MAX_LINES = 50
MAX_QUANTITY = 100
