"""Traces of orders, sent with OpenTelemetry to a collector. Imports `process`, and OpenTelemetry only if tracing is on.

`tracer` is what callers import. Without a collector's address each of its functions does nothing.
"""
