"""Which errors one entry may have caused, and the reason shown to an operator."""

from __future__ import annotations

import pytest

from common.database import entry_errors
from common.database.database import Database
from common.database.errors import CommitOutcomeUnknown, DatabaseBusy, DatabaseUnavailable


def raised(database: Database, sql: str, code: str = "P0001") -> Exception:
    """The error of this statement, run in PL/pgSQL."""
    with pytest.raises(Exception) as error:  # noqa: PT011
        database.one(f"DO $$ BEGIN {sql}; END $$")
    return error.value


@pytest.mark.parametrize("code", ["P0001", "23514", "22003", "40001", "42P01", "42501", "57014", "XX001", "55P03"])
def test_refused_statement_may_be_the_fault_of_one_entry(database: Database, code: str) -> None:
    assert entry_errors.may_be_one_entry(raised(database, f"RAISE EXCEPTION 'no' USING ERRCODE = '{code}'"))


@pytest.mark.parametrize("code", ["08006", "25006", "53100", "53300", "57P01", "57P03"])
def test_server_trouble_is_not_blamed_on_an_entry(database: Database, code: str) -> None:
    assert not entry_errors.may_be_one_entry(raised(database, f"RAISE EXCEPTION 'no' USING ERRCODE = '{code}'"))


@pytest.mark.parametrize("error", [DatabaseUnavailable(), DatabaseBusy(), CommitOutcomeUnknown()])
def test_lost_connection_is_not_blamed_on_an_entry(error: Exception) -> None:
    assert not entry_errors.may_be_one_entry(error)


def test_error_of_our_own_may_be_the_fault_of_one_entry() -> None:
    assert entry_errors.may_be_one_entry(TypeError("unhashable type"))


def test_reason_is_what_the_database_said(database: Database) -> None:
    error = raised(database, "RAISE EXCEPTION 'no such warehouse' USING DETAIL = 'Failing row contains (a, b)'")
    assert entry_errors.reason(error) == "RaiseException: no such warehouse"


def test_reason_of_a_transient_error_is_its_cause(database: Database) -> None:
    error = raised(database, "RAISE EXCEPTION 'try again' USING ERRCODE = '40001'")
    assert entry_errors.reason(error) == "SerializationFailure: try again"


def test_reason_can_be_stored_and_holds_no_personal_data() -> None:
    reason = entry_errors.reason(ValueError("bad\x00row\n of a@b.example \ud800 payment_token=tok_visa " + "x" * 1000))
    assert reason.startswith("ValueError: bad row  of ***   payment_token=***")
    assert len(reason) == entry_errors.MAX_REASON
    reason.encode()
