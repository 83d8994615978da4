"""The real system, which serves the documents."""

from tests.faults.shared_stack import shared_stack, stack

__all__ = ["shared_stack", "stack"]
