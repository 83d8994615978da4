"""The real system, whose documents these are."""

from tests.faults.shared_stack import shared_stack, stack

__all__ = ["shared_stack", "stack"]
