"""`/metrics` of each process, on a port of its own. Only a process with METRICS_PORT imports these modules.

May depend on `common.process`. Nothing in them depends on it.
"""
