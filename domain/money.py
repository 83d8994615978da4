"""Amounts are whole cents."""

MAX_CENTS = 999_999_999_999
"""The largest amount in any column or body: far above any order, and 50 lines of it stay within bigint."""
