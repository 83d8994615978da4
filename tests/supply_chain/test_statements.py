"""No value is put into the text of a statement: each way to do it is planted in a file of statements, and is found."""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

from supply_chain.reviewed import Reviewed
from supply_chain.statements import findings
from tests.supply_chain.test_locks import PROJECT

STORE = (PROJECT / "edge_api" / "store.py").read_text(encoding="utf-8")
CALLERS_OF_ONCE = ("orders_service", "inventory_service", "payments_service", "edge_api")


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """edge_api/store.py, alone in a repository."""
    subprocess.run(["git", "init", "--quiet"], cwd=tmp_path, check=True)
    path = tmp_path / "edge_api" / "store.py"
    path.parent.mkdir()
    path.write_text(STORE, encoding="utf-8")
    return path


def found(store: Path, planted: str, *allowed: str) -> list[str]:
    store.write_text(f"{STORE}\n\n{planted}\n", encoding="utf-8")
    reviewed = Reviewed(statements=frozenset(("edge_api/store.py", each) for each in allowed))
    return findings(store.parents[1], reviewed)


@pytest.mark.parametrize(
    "statement",
    [
        "f\"SELECT id FROM order_ledger WHERE email = '{email}'\"",
        "f\"select id from order_ledger where email = '{email}'\"",
        "f\"{FIND} AND email = '{email}'\"",
        "f\"SELECT id FROM order_ledger WHERE {' AND '.join(conditions)}\"",
        "\"SELECT id FROM order_ledger WHERE email = '%s'\" % email",
        "\"SELECT id FROM order_ledger WHERE email = '%s' AND id = %s\" % (email, 1)",
        "\"SELECT id FROM order_ledger WHERE email = '%(email)s'\" % {'email': email}",
        "\"SELECT id FROM order_ledger WHERE email = '{}'\".format(email)",
        "\"SELECT id FROM order_ledger WHERE email = '{email}'\".format(email=email)",
        '"SELECT id FROM order_ledger WHERE email = " + email',
        '"SELECT id FROM order_ledger WHERE email = " + quoted(email) + " LIMIT 1"',
        "FIND + email",
        "FIND.replace('%(key)s', email)",
        "_NTH_DECLINE.format(subject=email)",
        "store.FIND.format(email)",
        "f\"DELETE FROM order_ledger WHERE email = '{request.EMAIL}'\"",
        "f\"DELETE FROM order_ledger WHERE email = '{EMAIL}'\"",
        "f\"UPDATE order_ledger SET status = '{self.STATUS}'\"",
        "f\"WITH entry AS (SELECT) {tx.one('SELECT 1')}\"",
    ],
)
def test_value_in_a_statement_is_found(store: Path, statement: str) -> None:
    assert found(store, "") == []
    lines = found(store, f"def find(self, tx, request, email, conditions):\n    EMAIL = email\n    return {statement}")
    assert [line for line in lines if line.startswith("edge_api/store.py:")], statement


@pytest.mark.parametrize("operator", ["+=", "%="])
def test_value_that_is_added_to_a_statement_later_is_found(store: Path, operator: str) -> None:
    planted = f"def find(email):\n    statement = 'SELECT id FROM order_ledger'\n    statement {operator} email"
    (line,) = found(store, planted)
    assert "email is in the text of a statement" in line


@pytest.mark.parametrize(
    "statement",
    [
        'f"SELECT {_ENTRY} FROM order_ledger WHERE email = %(email)s"',
        "f\"{_NTH_DECLINE.format(subject='key_subject')} UNION {FIND}\"",
        'f"{email} is not an address"',
        '"not an address: " + email',
    ],
)
def test_constant_in_a_statement_and_value_in_a_message_pass(store: Path, statement: str) -> None:
    assert found(store, f"def find(email):\n    return {statement}") == []


def test_exception_holds_for_its_value_and_is_refused_without_a_use(store: Path) -> None:
    planted = "def find(table):\n    return f'SELECT id FROM {table} WHERE client = {client}'"
    (line,) = found(store, planted, "table")
    assert "client" in line
    assert found(store, "", "table") == ["edge_api/store.py: the exception for table has no use"]


def test_exception_needs_a_reason(tmp_path: Path) -> None:
    (tmp_path / "supply_chain").mkdir()
    entry = '[[statement]]\nfile = "edge_api/store.py"\nvalues = ["table"]\n'
    (tmp_path / "supply_chain" / "reviewed.toml").write_text(entry)
    with pytest.raises(ValueError, match="needs a reason"):
        Reviewed.read(tmp_path)


def test_this_repository_has_no_value_in_a_statement() -> None:
    if not (PROJECT / ".git").exists():
        pytest.skip("a copy without git")
    assert findings(PROJECT, Reviewed.read(PROJECT)) == []


def test_each_caller_of_once_names_its_table_by_a_constant() -> None:
    """common/api/idempotency.py puts this name into its statements."""
    trees = [ast.parse(path.read_text()) for folder in CALLERS_OF_ONCE for path in (PROJECT / folder).glob("*.py")]
    calls = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    tables = [call.args[1] for call in calls if isinstance(call.func, ast.Name) and call.func.id == "once"]
    assert len(tables) >= 2
    for table in tables:
        assert isinstance(table, ast.Name), ast.unparse(table)
        assert table.id.isupper(), table.id
