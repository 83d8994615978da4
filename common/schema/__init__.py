"""The database's schema: column types and migrations. The only package that loads SQLAlchemy and Alembic.

Imports `common.database` and `common.process`. The services' `models.py`, the migrations and commands import it; a
process that serves requests never does.
"""
