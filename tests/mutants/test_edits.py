"""An edit finds its definition by name and its text by tokens, and says what to do when it does not."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutants import definitions, nodes, upkeep
from tests.mutants.mutant import DoesNotApply, Edit, Mutant

CODE = '''
CLAIM = """
  SELECT id FROM ledger  -- the queue
  FOR UPDATE SKIP LOCKED
"""
LIMIT, PAUSE_S = 5, 0.1


class Pool:
    size = 3

    @cached
    def take(self, wait_s):
        """Take one."""
        if self.is_empty and (
            wait_s > 0  # ä
        ):
            raise Empty(
                wait_s,
                self,
            )
        return self.idle.pop()
'''
MIGRATION = '''
revision = "0002"
SQL = """
CREATE TABLE ledger (
  amount BIGINT NOT NULL,
  CONSTRAINT ck_amount CHECK (amount IN (1, 2)),
  CONSTRAINT ck_other CHECK (amount > 0)
);
CREATE FUNCTION guard() RETURNS trigger AS $$ BEGIN IF NEW.amount < 0 THEN RETURN NULL; END IF; END $$;
"""
'''

RAISED = CODE[CODE.index("Empty(") : CODE.index("        return")].rstrip()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for file, text in {
        "shop/__init__.py": "",
        "shop/deep/__init__.py": "",
        "shop/deep/pool.py": CODE,
        "alembic/versions/0002_ledger.py": MIGRATION,
        "alembic/versions/0001_old.py": MIGRATION.replace("< 0", "< 1"),
        "tests/test_pool.py": "class TestTake:\n    def test_pool_is_bounded(self): ...\n",
        "tests/deep/test_pool.py": "def test_pool_is_bounded(): ...\n\ndef test_pool_waits(): ...\n",
    }.items():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_text(text)
    return tmp_path


@pytest.mark.parametrize(
    ("edit", "old", "new"),
    [
        (Edit("shop:CLAIM", "drop", "SKIP LOCKED"), "UPDATE SKIP LOCKED", "UPDATE "),
        (Edit("shop:CLAIM", "replace", "ledger FOR UPDATE", "ledger"), "ledger  -- the queue\n  FOR UPDATE", "ledger"),
        (Edit("shop.deep.pool:PAUSE_S", "replace", "0.1", "9"), "5, 0.1", "5, 9"),
        (Edit("shop:Pool.size", "set", "4"), "size = 3", "size = 4"),
        (Edit("shop:Pool.take", "drop", "@cached"), "@cached", ""),
        (Edit("shop:Pool.take", "drop", "return self.idle.pop()"), "return self.idle.pop()", "pass"),
        (Edit("shop:Pool.take", "replace", "Empty(wait_s, self)", "None"), RAISED, "None"),
        (Edit("shop:Pool.take", "drop", "wait_s", after="raise Empty("), "wait_s,\n", "\n"),
        (Edit("shop:Pool.take", "negate", "wait_s > 0"), "wait_s > 0", "not (wait_s > 0)"),
        (Edit("shop:Pool.take", "begin", "return None"), "        if self", "        return None\n        if self"),
        (Edit("alembic:ck_amount", "drop", "check (amount in (1, 2))"), "CHECK (amount IN (1, 2))", ""),
        (Edit("alembic:guard", "replace", "new.amount < 0", "false"), "NEW.amount < 0", "false"),
    ],
)
def test_edit_changes_one_place(root: Path, edit: Edit, old: str, new: str) -> None:
    path, text = edit.result(root)
    before = path.read_text()
    assert before.count(old) == 1
    assert text == before.replace(old, new)


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        (Edit("shop:Pool.give", "drop", "x"), "Did you mean Pool.size or Pool.take"),
        (Edit("orders:CLAIM", "drop", "x"), "Did you mean shop:CLAIM?"),
        (Edit("shop:CLAIM", "drop", "FOR SHARE SKIP LOCKED"), "Nearest: FOR UPDATE SKIP LOCKED"),
        (Edit("shop:Pool.take", "drop", "wait_s"), "contains 3 times"),
        (Edit("shop:Pool.take", "replace", "raise", "rise"), "would not be valid Python"),
    ],
)
def test_edit_that_does_not_apply_says_why(root: Path, edit: Edit, says: str) -> None:
    with pytest.raises(DoesNotApply, match=says.replace("?", r"\?")):
        edit.result(root)


def test_test_is_found_by_the_end_of_its_node_id(root: Path) -> None:
    assert nodes.find(root, "test_pool_waits[3]") == "tests/deep/test_pool.py::test_pool_waits[3]"
    assert nodes.find(root, "TestTake::test_pool_is_bounded") == "tests/test_pool.py::TestTake::test_pool_is_bounded"


def test_unknown_and_ambiguous_tests_are_reported_with_candidates(root: Path) -> None:
    edit = Edit("shop:CLAIM", "drop", "SKIP LOCKED")
    mutant = Mutant("m", "1", "", (edit,), ("test_pool_wait",))
    assert "no test is called test_pool_wait. Nearest: test_pool_waits" in upkeep.broken([mutant], root)
    mutant = Mutant("m", "1", "", (edit,), ("test_pool_is_bounded",))
    assert "2 tests are called test_pool_is_bounded" in upkeep.broken([mutant], root)


def test_renames_are_applied_to_whole_names(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (root / "1_pool.toml").write_text('target = "shop:CLAIM"\ntest = "test_a[x]"\nalso = "test_ab"\n')
    (root / "renames").write_text("tests/test_pool.py::test_a → tests/test_pool.py::test_b\nCLAIM TAKE\n")
    monkeypatch.setattr(upkeep, "LISTS", root)
    assert upkeep.rename(root / "renames").splitlines() == ["1_pool.toml: CLAIM → TAKE", "1_pool.toml: test_a → test_b"]
    assert (root / "1_pool.toml").read_text() == 'target = "shop:TAKE"\ntest = "test_b[x]"\nalso = "test_ab"\n'


def test_copy_of_a_package_that_its_installation_left_is_ignored(tmp_path: Path) -> None:
    for folder in (tmp_path / "shop", tmp_path / "shop" / "build" / "lib" / "shop"):
        folder.mkdir(parents=True)
        (folder / "pool.py").write_text(CODE)
    assert definitions.find(tmp_path, "shop:Pool.take").path == tmp_path / "shop" / "pool.py"
