"""The fixtures of the shared system, for tests with real processes."""

from tests.faults.shared_stack import shared_stack, stack

__all__ = ["shared_stack", "stack"]
