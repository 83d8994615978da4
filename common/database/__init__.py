"""PostgreSQL at run time: connections, transactions, and what an error means. Imports `process` alone.

Services, the orchestrator, `common.api` and `common.schema` may import it.
"""
