"""The MetaData in which every service declares its tables. Tests compare it with what the migrations make."""

from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Column, DateTime, MetaData, String, Table, Text, func
from sqlalchemy.dialects.postgresql import UUID
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.types import UserDefinedType

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)


class TransactionId(UserDefinedType[str]):
    """PostgreSQL's `xid8`: the number of a transaction, which is never used again."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "XID8"


ischema_names["xid8"] = TransactionId  # so that alembic recognises it in a database


def id_column(name: str = "id", *, primary_key: bool | None = None, nullable: bool = False) -> Column[str]:
    """A UUID, which is text in Python. It is the primary key if its name is `id`."""
    is_key = name == "id" if primary_key is None else primary_key
    return Column(name, UUID(as_uuid=False), primary_key=is_key, nullable=nullable)


def time_column(name: str, *, nullable: bool = False) -> Column[object]:
    """A time that the database sets, because the clocks of hosts differ."""
    return Column(name, DateTime(timezone=True), nullable=nullable, server_default=None if nullable else func.now())


def identifier(length: int | None = None) -> String:
    """Text that identifies something: compared byte by byte, as a language's sort order changes with the system."""
    return String(length, collation="C") if length else Text(collation="C")


def cents_column(name: str, *, nullable: bool = False) -> Column[int]:
    return Column(name, BigInteger, nullable=nullable)


def trace_parent_column() -> Column[str]:
    """The `traceparent` of the request that wrote the row. Null: it was not traced."""
    return Column("trace_parent", Text)


def trace_parent_check() -> CheckConstraint:
    return CheckConstraint(
        "trace_parent ~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$'", name="trace_parent"
    )


def is_one_of(column: str, words: tuple[str, ...]) -> str:
    """The SQL of a CHECK that a column holds one of these words."""
    return f"{column} IN ({', '.join(repr(str(word)) for word in words)})"


def idempotency_table(name: str, scope: str = "scope") -> Table:
    """The stored responses of a service (see common/api/idempotency.py). `scope` is the column that keys belong to."""
    return Table(
        name,
        metadata,
        Column(scope, identifier(), primary_key=True),
        Column("key", identifier(255), primary_key=True),
        Column("fingerprint", String(64), nullable=False),
        Column("status", BigInteger),
        Column("body", Text),
        time_column("created_at"),
        CheckConstraint("(status IS NULL) = (body IS NULL)", name="answer"),
    )
