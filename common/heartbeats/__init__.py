"""The sign of life of each process without a server, and what an operator needs to know of it.

Depends on `common.database` and `common.process`.
"""
