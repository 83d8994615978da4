"""The events of orders, as clients see them. May depend on `common.api`."""
