"""The SQL of the pages about products. They are read here, and changed by the inventory service."""

from __future__ import annotations

# Products as they are sold now: the last version counts, as in inventory_service/operations.py.
_PRODUCT = """
SELECT product.id, sku, currency, stock_quantity, product.created_at,
  COALESCE(version.name, product.name) AS name, COALESCE(version.price_cents, product.price_cents) AS price_cents,
  COALESCE(version.is_active, product.is_active) AS is_active
FROM products AS product LEFT JOIN LATERAL (
  SELECT * FROM product_versions WHERE product_id = product.id ORDER BY number DESC LIMIT 1) AS version ON true
"""
# One page, by SKU.
PAGE = f"{_PRODUCT} WHERE sku > %(after)s ORDER BY sku LIMIT %(limit)s"
PRODUCT_BY_SKU = f"{_PRODUCT} WHERE sku = %(sku)s"
PRODUCT = f"{_PRODUCT} WHERE product.id = %(id)s"

# How many pieces of each product open orders have reserved. `is_all`: false where there are more open orders than are
# looked at. OFFSET 0 keeps the lines of each order to their index, however large the table is.
RESERVED = """
WITH open AS MATERIALIZED (
  SELECT order_id FROM order_ledger WHERE due_at IS NOT NULL ORDER BY due_at LIMIT %(most)s
), held AS (
  SELECT line.product_id, sum(line.quantity)::bigint AS pieces
  FROM open CROSS JOIN LATERAL (
    SELECT product_id, quantity FROM inventory_reservations
    WHERE order_id = open.order_id AND released_at IS NULL AND product_id = ANY (%(ids)s::uuid[]) OFFSET 0) AS line
  GROUP BY line.product_id
)
SELECT wanted.id AS product_id, COALESCE(held.pieces, 0) AS pieces, (SELECT count(*) FROM open) < %(most)s AS is_all
FROM unnest(%(ids)s::uuid[]) AS wanted (id) LEFT JOIN held ON held.product_id = wanted.id
"""

_ADJUSTMENT = """
SELECT id, quantity, reason, reference_id, notes, created_at FROM inventory_adjustments
WHERE product_id = %(product_id)s
"""
_NEWEST_FIRST = "ORDER BY created_at DESC, id DESC LIMIT %(limit)s"
# The adjustments of a product, newest first: the first page, and those after a place.
ADJUSTMENTS = f"{_ADJUSTMENT} {_NEWEST_FIRST}"
ADJUSTMENTS_AFTER = f"{_ADJUSTMENT} AND (created_at, id) < (%(created_at)s, %(after)s::uuid) {_NEWEST_FIRST}"
# What the product was sold as, newest first.
VERSIONS = """
SELECT number, name, price_cents, is_active, created_at FROM product_versions
WHERE product_id = %(product_id)s ORDER BY number DESC LIMIT %(limit)s
"""
