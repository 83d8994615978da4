"""The sessions of one name are ended by an admin, and the jobs that it made without a key stop."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import psycopg2
import pytest

from common.credentials.client_keys import digest
from console import jobs, sessions
from console.context import Console
from console.job_worker import JobWorker
from console.jobs import Sent
from console.operators import Operator
from console.pages import COOKIE
from tests.at_once import at_once
from tests.audit.small_world import SmallWorld
from tests.console.acting.conftest import OURS, Person
from tests.waiting import eventually

NAME = "eve@shop.example"
WANTED = {"action": "retry", "reason": "why", "rate_per_s": 5, "filter": {"client": "shop"}}
FILTER = {"client": "shop"}
WAITING = "SELECT 1 FROM pg_locks WHERE NOT granted"


@pytest.fixture
def admin(person: Any) -> Person:
    made: Person = person("admin")
    return made


@pytest.fixture
def eve(console: Console, world: SmallWorld) -> str:
    """The token of an operator who has signed in with OpenID Connect."""
    world.order(world.product())
    return console.operators.begin_session(Operator(NAME, "operator"), None)


def begin(console: Console, key: str) -> str:
    made = jobs.create(console.database, Operator(NAME, "operator"), Sent(key, FILTER), WANTED)
    return str(made["job_id"])


def test_admin_ends_the_sessions_of_a_name(
    admin: Person, ada: Person, console: Console, world: SmallWorld, eve: str
) -> None:
    console.operators.begin_session(Operator(NAME, "viewer"), None)
    page = admin.page("/keys")
    assert f"End the sessions of {NAME}" in page
    for _ in range(2):
        assert admin.send("/keys/sessions/end", name=NAME, key="k" * 16).status_code == 303
    assert f"2 sessions of {NAME} have ended." in admin.page("/keys")
    assert console.operators.by_session(eve) is None
    assert ada.page("/orders")
    assert world.sql("SELECT actor, details FROM operator_log WHERE action = 'operators.end_sessions'") == [
        ("ada.admin", {"name": NAME, "sessions": 2, "jobs": 0})
    ]


def test_jobs_without_a_key_stop_with_the_sessions(
    admin: Person, ada: Person, console: Console, world: SmallWorld, eve: str
) -> None:
    job = begin(console, "one")
    other = ada.post("/api/jobs", **WANTED).json["job_id"]
    answer = admin.post("/api/operator_sessions/end", name=NAME)
    assert answer.json == {"name": NAME, "sessions": 1, "jobs": 1}
    found = {id_: admin.get(f"/api/jobs/{id_}").json for id_ in (job, other)}
    assert [found[job][name] for name in ("state", "stop_reason", "stopped_by")] == ["stopped", "operator", "ada.admin"]
    assert found[other]["state"] == "filling"
    assert JobWorker(console).run_once()
    assert admin.get(f"/api/jobs/{job}").json["done"] == 0
    assert admin.get(f"/api/jobs/{other}").json["state"] == "done"
    stops = "SELECT count(*) FROM operator_log WHERE action = 'job.stop' AND details ->> 'job_id' = %(id)s"
    assert world.sql(stops, id=job) == [(1,)]


def test_job_goes_on_when_its_author_signs_out(admin: Person, console: Console, eve: str) -> None:
    job = begin(console, "one")
    console.operators.sign_out(eve)
    assert JobWorker(console).run_once()
    assert admin.get(f"/api/jobs/{job}").json["state"] == "done"


def test_job_cannot_begin_after_the_end(console_app: Any, url: str, world: SmallWorld, eve: str) -> None:
    """The session ends between its check and the job."""
    with closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
        cursor.execute("DELETE FROM operator_sessions WHERE token_sha256 = %s", [digest(eve)])
        browser = console_app.test_client()
        browser.set_cookie(COOKIE, eve)
        form = {"key": "k" * 16, "action": "retry", "reason": "why", "rate": "5", "filter.client": "shop"}

        def commit() -> None:
            eventually(lambda: world.sql(WAITING))
            other.commit()

        answer, _ = at_once([lambda: browser.post("/jobs", data=form, headers=OURS), commit])
    assert answer.status_code == 401
    assert world.sql("SELECT 1 FROM bulk_jobs") == []


def test_end_waits_for_a_job_that_begins(console: Console, url: str, world: SmallWorld, eve: str) -> None:
    """Otherwise nobody would stop it."""
    with closing(psycopg2.connect(url)) as other, other.cursor() as cursor:
        cursor.execute("SELECT FROM operator_sessions WHERE name = %s FOR KEY SHARE", [NAME])
        cursor.execute(
            "INSERT INTO bulk_jobs (author, key, fingerprint, action, filter, reason, rate_per_s)"
            " VALUES (%s, 'k', repeat('0', 64), 'retry', '{}', 'why', 5)", [NAME],
        )  # fmt: skip

        def commit() -> None:
            eventually(lambda: world.sql(WAITING))
            other.commit()

        done, _ = at_once([lambda: sessions.end(console.database, "ada", "k", NAME), commit])
    assert done.result == {"name": NAME, "sessions": 1, "jobs": 1}


@pytest.mark.parametrize("name", ["", "x" * 200, "a\nb"])
def test_bad_name_is_refused(admin: Person, name: str) -> None:
    assert admin.post("/api/operator_sessions/end", name=name).status_code == 400
    assert admin.send("/keys/sessions/end", name=name).status_code == 400


def test_api_lists_who_is_signed_in(admin: Person, eve: str) -> None:
    found = {each["name"]: each for each in admin.get("/api/operator_sessions").json["sessions"]}
    assert (found[NAME]["sessions"], found[NAME]["without_key"]) == (1, 1)
    assert found["ada.admin"]["without_key"] == 0
