"""Test hooks: places at which a test kills a process. Lies above what it hooks into; only the programs import it."""
