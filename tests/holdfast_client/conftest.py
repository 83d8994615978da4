"""The real system, for the tests of the client that need one."""

from tests.faults.shared_stack import shared_stack, stack

__all__ = ["shared_stack", "stack"]
