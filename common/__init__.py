"""The parts of every process: one package per subject. None of them knows orders, sagas or services."""

__version__ = "0.1.0"
