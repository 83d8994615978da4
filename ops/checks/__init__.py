"""What `python -m ops check` looks at. Each check is a function that yields the problems it finds.

CHECKS in `ops.checks.every` lists them all.
"""
