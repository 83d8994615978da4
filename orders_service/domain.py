"""What the tables, the bodies and the verbs of this service agree on."""

CREATED, CONFIRMED, CANCELLED = "CREATED", "CONFIRMED", "CANCELLED"
MAX_LINES = 50
MAX_QUANTITY = 100
