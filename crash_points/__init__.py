"""Test hooks: points at which a test kills a process. Only the two programs import this package."""
