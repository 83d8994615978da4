"""The database's schema: kinds of column, and the migrations. The one package that loads SQLAlchemy and Alembic.

Imported by the services' `models.py`, by the migrations and by commands; never by a process that serves requests.
"""
