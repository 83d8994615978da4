"""Stock: how much of a product there can be, and why it changes other than by orders."""

MAX_STOCK = 2_147_483_647
"""What an integer column holds."""
ONLY_MORE = ("warehouse_receiving", "return_to_stock")
"""Reasons that only add stock."""
MORE_OR_LESS = ("manual_adjustment", "correction")
