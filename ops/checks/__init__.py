"""The checks of `python -m ops check`. Each is a function that yields the problems it finds.

CHECKS in `ops.checks.every` lists them all.
"""
