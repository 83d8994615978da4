"""The warnings at startup: they wait for the database and name a remedy."""

from __future__ import annotations

import pytest

from common.database import soundness
from common.database.database import Row
from common.database.errors import DatabaseUnavailable

COLLATION = {"name": "shop", "built": "1", "actual": "2"}
SEQUENCE = {"sequence": "t_id_seq", "table_name": "t", "column_name": "id"}


class Starting:
    """A database that is unavailable for the first query and answers every later one."""

    def __init__(self, *answers: list[Row]) -> None:
        self._answers = list(answers)
        self._is_up = False

    def all(self, sql: str) -> list[Row]:
        if not self._is_up:
            self._is_up = True
            raise DatabaseUnavailable
        return self._answers.pop(0)


def test_warnings_wait_for_the_database(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("WARNING", soundness.__name__)  # an earlier test may have raised the level
    monkeypatch.setattr(soundness, "TRY_AGAIN_S", 0)
    soundness._warn(Starting([COLLATION], [SEQUENCE], [{"at": 1, "used": 5}]))
    collation, sequence = caplog.messages
    assert collation.endswith("To fix it: REINDEX DATABASE shop; ALTER DATABASE shop REFRESH COLLATION VERSION")
    assert sequence.endswith("To fix it: SELECT setval('t_id_seq', 5)")


@pytest.mark.parametrize("used", [None, 1])
def test_sequence_that_is_not_behind_is_not_reported(used: int | None) -> None:
    database = Starting([SEQUENCE], [{"at": 1, "used": used}])
    database._is_up = True
    assert list(soundness.stale_sequences(database)) == []
