"""PostgreSQL at run time: connections, transactions, and the meaning of errors. Imports only `process`.

Services, the orchestrator, `common.api` and `common.schema` may import it.
"""
