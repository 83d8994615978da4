"""PostgreSQL at run time: connections, transactions, and what an error means. Imports `process` alone.

Services, the orchestrator and `common.api` may import it.
"""
