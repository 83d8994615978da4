"""Jobs: one action on all orders that fit a filter, each order exactly once."""

from __future__ import annotations

import threading
from collections import Counter
from contextlib import closing

import psycopg2
import pytest

from common.database.errors import RowsLocked
from console import job_steps, jobs
from console.job_steps import Step
from console.job_worker import COLLECT_PAUSE_S, JobWorker
from tests.at_once import at_once
from tests.other_session import other_session
from tests.waiting import eventually

CANCEL = {"action": "cancel", "reason": "out_of_stock", "rate_per_s": 50}
RETRY = {"action": "retry", "reason": "the gateway is back", "rate_per_s": 50}
ALL = {"client": "shop"}


@pytest.fixture
def worker(console):
    return JobWorker(console)


@pytest.fixture
def orders(world):
    """`orders(3)`: the ids of new orders that are authorized, oldest first."""
    product = world.product(stock=1000)
    return lambda number: [world.order(product).json["order_ledger_id"] for _ in range(number)]


@pytest.fixture
def begin(ada):
    """`begin(CANCEL, status="AUTHORIZED")`: a new job over this filter, or over all orders. :returns: its id"""

    def post(job, **filters):
        filters = filters or ALL
        answer = ada.post("/api/jobs", **job, filter=filters)
        assert answer.status_code == 202, answer.text
        return answer.json["job_id"]

    return post


def results(person, job):
    found = person.get(f"/api/jobs/{job}").json
    return [(item["order_ledger_id"], item["result"], item["code"]) for item in found["items"]]


def sums(person, job):
    found = person.get(f"/api/jobs/{job}").json
    return {name: found[name] for name in ("state", "stop_reason", "total", "done", "refused")}


def end_lease(world):
    world.sql("UPDATE bulk_jobs SET claimed_until = now() - interval '1 s'")


def cancelled(record):
    return Counter(details["order_ledger_id"] for _, action, details in record() if action == "order.cancel")


def test_job_acts_on_all_orders_that_fit(ada, world, worker, orders, begin, record):
    done = orders(1)
    world.work()
    open_ = orders(3)
    job = begin(CANCEL | {"note": "A. Person"}, status="AUTHORIZED")
    assert worker.run_once()
    assert results(ada, job) == [(order, "done", None) for order in reversed(open_)]
    assert sums(ada, job) == {"state": "done", "stop_reason": None, "total": 3, "done": 3, "refused": 0}
    assert world.sql("SELECT note FROM bulk_jobs") == [(None,)]
    assert world.sql("SELECT DISTINCT cancel_reason, cancel_note FROM order_ledger WHERE cancel_note <> ''") == [
        ("out_of_stock", "A. Person")
    ]
    world.work()
    assert world.sql("SELECT id::text FROM order_ledger WHERE status = 'COMPLETED'") == [(done[0],)]
    what = {"action": "cancel", "reason": "out_of_stock", "rate_per_s": 50, "filter": {"status": "AUTHORIZED"}}
    assert record() == [
        ("ada.operator", "job.create", {"job_id": job, **what}),
        *(
            ("ada.operator", "order.cancel", {"order_ledger_id": order, "reason": "out_of_stock", "job_id": job})
            for order in reversed(open_)
        ),
        ("ada.operator", "job.end", {"job_id": job, "done": 3, "refused": 0}),
    ]
    assert not worker.run_once()
    assert world.audit() == []


def test_refusal_is_the_result_of_its_order(ada, world, worker, orders, begin, waiting, completed):
    job = begin(RETRY)
    worker.run_once()
    assert results(ada, job) == [(completed, "refused", "not_retryable"), (waiting, "done", None)]
    (refused,) = ada.get(f"/api/jobs/{job}", result="refused").json["items"]
    assert "has ended" in refused["message"]
    assert world.sql("SELECT due_at <= now() FROM order_ledger WHERE id = %(id)s", id=waiting) == [(True,)]


def test_order_that_went_on_meanwhile_is_left_alone(ada, world, console, worker, orders, begin):
    moved, stayed = orders(2)
    job = begin(CANCEL, status="AUTHORIZED")
    held = job_steps.claim(console.database, "w")
    assert job_steps.step(console.database, held) is Step.COLLECTED
    world.sql("UPDATE order_ledger SET status = 'ORDER_CREATED' WHERE id = %(id)s", id=moved)
    job_steps.let_go(console.database, held)
    worker.run_once()
    assert results(ada, job) == [(stayed, "done", None), (moved, "refused", "no_longer_fits")]
    assert world.sql("SELECT cancel_requested_at FROM order_ledger WHERE id = %(id)s", id=moved) == [(None,)]


def test_order_that_came_after_the_job_is_not_in_it(ada, worker, orders, begin):
    orders(1)
    job = begin(CANCEL)
    orders(1)
    worker.run_once()
    assert sums(ada, job)["total"] == 1


@pytest.mark.parametrize(
    ("filters", "fits"),
    [({"needs_attention": True}, 1), ({"needs_attention": "true"}, 1), ({"client": "shop"}, 3), ({"client": "x"}, 0),
     ({"status": "COMPENSATING,COMPLETED"}, 1), ({"email": "A@b.example"}, 3), ({"refund_status": "full"}, 0)],
)  # fmt: skip
def test_every_filter_counts_and_collects_the_same(ada, worker, orders, begin, waiting, completed, filters, fits):
    orders(1)
    query = {name: "true" if value is True else value for name, value in filters.items()}
    assert ada.get("/api/jobs/count", **query).json["orders"] == fits
    job = begin(RETRY, **filters)
    worker.run_once()
    assert sums(ada, job)["total"] == fits
    assert not {code for _, _, code in results(ada, job)} & {"no_longer_fits", "internal_error"}


def test_orders_are_collected_page_by_page(ada, worker, orders, begin, monkeypatch):
    placed = orders(5)
    monkeypatch.setattr(job_steps, "FILL_PAGE", 2)
    job = begin(CANCEL)
    worker.run_once()
    assert results(ada, job) == [(order, "done", None) for order in reversed(placed)]
    monkeypatch.setattr(job_steps, "MAX_ORDERS", 3)
    job = begin(RETRY)
    worker.run_once()
    assert sums(ada, job)["total"] == 3


def test_number_is_counted_up_to_a_limit(ada, orders, monkeypatch):
    orders(3)
    amounts = [{"currency": "USD", "amount_cents": 7500}]
    assert ada.get("/api/jobs/count").json == {"orders": 3, "is_more": False, "amounts": amounts}
    monkeypatch.setattr(jobs, "MAX_COUNT", 2)
    assert ada.get("/api/jobs/count").json == {"orders": 2, "is_more": True, "amounts": amounts}


def test_job_over_more_orders_than_were_seen_is_refused(ada, world, orders, monkeypatch):
    orders(2)
    refused = ada.post("/api/jobs", **CANCEL, filter=ALL, expected=1)
    assert (refused.status_code, refused.json["error"]) == (409, "more_orders_fit")
    assert refused.json["details"] == {"orders": 2, "is_more": False}
    assert world.sql("SELECT id FROM bulk_jobs") == []
    assert ada.post("/api/jobs", **CANCEL, filter=ALL, expected=2).status_code == 202


def test_same_key_at_once_makes_one_job(ada, world, orders, record, monkeypatch):
    orders(1)
    neither_has_found_the_key = threading.Barrier(2)
    monkeypatch.setattr(jobs, "_check_number", lambda *_: neither_has_found_the_key.wait(20))
    answers = at_once([lambda: ada.post("/api/jobs", "k", **CANCEL, filter={"email": "a@b.example"})] * 2)
    assert [answer.status_code for answer in answers] == [202] * 2, [answer.text for answer in answers]
    assert len({answer.text for answer in answers}) == 1
    assert len(record()) == 1
    other = ada.post("/api/jobs", "k", **CANCEL, filter=ALL)
    assert (other.status_code, other.json["error"]) == (422, "idempotency_key_reused")


@pytest.mark.parametrize(
    ("body", "field"),
    [(CANCEL | {"reason": "because"}, "reason"), (RETRY | {"note": "x"}, "note"),
     (CANCEL | {"rate_per_s": 51}, "rate_per_s"), (CANCEL | {"rate_per_s": 0}, "rate_per_s"),
     (CANCEL | {"filter": {"limit": "5"}}, "filter"), (CANCEL | {"filter": {}}, "filter"),
     (RETRY | {"filter": {}}, "filter"),
     (CANCEL | {"filter": {"status": "LOST"}}, "filter"),
     (CANCEL | {"filter": {"status": "FAILED"}}, "filter"),
     (RETRY | {"filter": {"status": "COMPLETED,AUTHORIZATION_FAILED", "client": "shop"}}, "filter"),
     (CANCEL | {"action": "refund"}, "action")],
)  # fmt: skip
def test_bad_job_is_refused(ada, body, field):
    answer = ada.post("/api/jobs", **{"filter": ALL, **body})
    assert (answer.status_code, list(answer.json["details"])) == (400, [field])


def test_whose_orders_is_forgotten_once_they_are_collected(ada, console, world, worker, orders, begin, record):
    orders(1)
    user = "7b9d2c2e-1111-4222-8333-123456789abc"
    job = begin(RETRY, email="a@b.example", user_id=user)
    held = job_steps.claim(console.database, "w")
    assert job_steps.step(console.database, held) is Step.COLLECTED
    kept = {"email": "[not kept]", "user_id": "[not kept]"}
    assert world.sql("SELECT state, filter FROM bulk_jobs") == [("running", kept)]
    job_steps.let_go(console.database, held)
    worker.run_once()
    assert results(ada, job)[0][1:] == ("done", None)
    assert record()[0][2]["filter"] == kept


@pytest.mark.parametrize("end", ["stop", "key", "failed"])
def test_whose_orders_is_forgotten_when_the_job_ends_before_they_are_collected(ada, console, world, begin, end):
    job = begin(CANCEL, email="a@b.example", reference="r-1")
    held = job_steps.claim(console.database, "w")
    if end == "stop":
        ada.post(f"/api/jobs/{job}/stop", key=None)
    elif end == "key":
        world.sql("UPDATE operator_keys SET revoked_at = now()")
        job_steps.step(console.database, held)
    else:
        job_steps.fail(console.database, held)
    kept = {"email": jobs.NOT_KEPT, "reference": "r-1"}
    assert world.sql("SELECT state, filter, note FROM bulk_jobs") == [("stopped", kept, None)]


@pytest.mark.parametrize("name", ["reference", "client"])
def test_filter_that_says_not_kept_still_filters(ada, worker, orders, begin, name):
    orders(2)
    job = begin(CANCEL, **{name: jobs.NOT_KEPT})
    worker.run_once()
    assert sums(ada, job) == {"state": "done", "stop_reason": None, "total": 0, "done": 0, "refused": 0}


def test_order_that_no_longer_fits_a_filter_that_says_not_kept_is_left_alone(
    ada, world, console, worker, orders, begin
):
    (order,) = orders(1)
    world.sql("UPDATE order_ledger SET reference = '[not kept]' WHERE id = %(id)s", id=order)
    job = begin(CANCEL, reference=jobs.NOT_KEPT)
    held = job_steps.claim(console.database, "w")
    assert job_steps.step(console.database, held) is Step.COLLECTED
    world.sql("UPDATE order_ledger SET reference = 'r-1' WHERE id = %(id)s", id=order)
    job_steps.let_go(console.database, held)
    worker.run_once()
    assert results(ada, job) == [(order, "refused", "no_longer_fits")]


def test_stopped_job_acts_on_no_further_order(ada, console, world, orders, begin, record):
    orders(3)
    job = begin(CANCEL)
    held = job_steps.claim(console.database, "w")
    assert [job_steps.step(console.database, held) for _ in range(2)] == [Step.COLLECTED, Step.ACTED]
    stopped = ada.post(f"/api/jobs/{job}/stop", key=None)
    assert (stopped.status_code, stopped.json["state"], stopped.json["stopped_by"]) == (200, "stopped", "ada.operator")
    assert job_steps.step(console.database, held) is Step.LOST
    assert sums(ada, job) == {"state": "stopped", "stop_reason": "operator", "total": 3, "done": 1, "refused": 0}
    assert record()[-1][1:] == ("job.stop", {"job_id": job, "done": 1, "refused": 0})
    assert ada.post(f"/api/jobs/{job}/stop", key=None).json["error"] == "job_has_ended"
    assert job_steps.claim(console.database, "w") is None


@pytest.mark.parametrize("change", ["revoked_at = now()", "expires_at = now()", "role = 'viewer'"])
def test_job_stops_when_the_key_of_its_operator_does(ada, person, console, world, orders, begin, change, record):
    orders(2)
    job = begin(CANCEL)
    held = job_steps.claim(console.database, "w")
    for _ in range(2):
        job_steps.step(console.database, held)
    world.sql(f"UPDATE operator_keys SET {change}")
    assert job_steps.step(console.database, held) is Step.ENDED
    assert sums(person("viewer"), job) == {
        "state": "stopped", "stop_reason": "key", "total": 2, "done": 1, "refused": 0,
    }  # fmt: skip
    assert record()[-1] == (
        "ada.operator", "job.end", {"job_id": job, "done": 1, "refused": 0, "stop_reason": "key"},
    )  # fmt: skip


def test_job_of_a_session_stops_with_its_key_and_not_with_the_session(ada, world, worker, orders, console):
    orders(1)
    form = {"action": "cancel", "reason": "other", "rate": "5", "expected": "1", "filter.status": "AUTHORIZED"}
    answer = ada.send("/jobs", **form)
    assert answer.status_code == 303, answer.text
    ada.browser.post("/sign-out", headers={"Origin": "http://localhost"})
    worker.run_once()
    assert world.sql("SELECT state, operator_key_id IS NOT NULL FROM bulk_jobs") == [("done", True)]


def test_job_of_a_killed_worker_continues_on_another(ada, console, world, worker, orders, begin, record):
    placed = orders(4)
    job = begin(CANCEL)
    killed = job_steps.claim(console.database, "killed")
    for _ in range(2):
        job_steps.step(console.database, killed)
    assert not worker.run_once(), "its lease has not ended"
    end_lease(world)
    assert worker.run_once()
    assert job_steps.step(console.database, killed) is Step.LOST
    assert sums(ada, job)["done"] == 4
    assert cancelled(record) == Counter(placed)


def test_worker_that_lost_its_claim_writes_nothing(console, world, orders, begin, record):
    orders(1)
    begin(CANCEL)
    slow = job_steps.claim(console.database, "slow")
    job_steps.step(console.database, slow)
    end_lease(world)
    assert job_steps.claim(console.database, "other")
    assert job_steps.step(console.database, slow) is Step.LOST
    job_steps.let_go(console.database, slow)
    job_steps.fail(console.database, slow)
    assert cancelled(record) == {}
    assert world.sql("SELECT state, claimed_by FROM bulk_jobs") == [("running", "other")]


def test_step_that_is_cut_off_leaves_nothing_behind(console, world, orders, begin, record, monkeypatch):
    orders(1)
    begin(CANCEL)
    held = job_steps.claim(console.database, "w")
    job_steps.step(console.database, held)

    class Killed(BaseException):
        pass

    def kill(*_, **__):
        raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(job_steps.statements, "COUNT_ITEM", "SELECT 1 / 0")
        patched.setattr(job_steps.log, "exception", kill)  # the process dies before it can refuse the order
        with pytest.raises(Killed):
            job_steps.step(console.database, held)
    assert cancelled(record) == {}
    assert world.sql("SELECT result FROM bulk_job_items") == [(None,)]
    assert job_steps.step(console.database, held) is Step.ACTED
    assert set(cancelled(record).values()) == {1}


def test_workers_do_not_take_the_same_job(console, orders, begin, ada, record):
    placed = orders(6)
    made = [begin(CANCEL) for _ in range(3)]
    workers = [JobWorker(console) for _ in range(4)]
    eventually(lambda: not any(at_once([worker.run_once for worker in workers])))
    assert [sums(ada, job)["done"] for job in made] == [6, 6, 6]
    assert cancelled(record) == dict.fromkeys(placed, 3)


def test_unexpected_error_refuses_one_order_and_not_the_others(ada, worker, orders, begin, monkeypatch):
    first, second = orders(2)
    job = begin(CANCEL)
    really = job_steps.verbs.cancel

    def cancel(tx, actor, subject, wish, **details):
        if subject.order_ledger_id == second:
            raise ValueError("a fault in the code")
        really(tx, actor, subject, wish, **details)

    monkeypatch.setattr(job_steps.verbs, "cancel", cancel)
    monkeypatch.setattr(job_steps.log, "exception", lambda *_: None)
    worker.run_once()
    assert results(ada, job) == [(second, "refused", "internal_error"), (first, "done", None)]


def test_order_that_stays_locked_is_left_alone(ada, url, worker, orders, begin):
    first, second = orders(2)
    job = begin(CANCEL)
    with other_session(url) as cursor:
        cursor.execute("SELECT 1 FROM order_ledger WHERE id = %s FOR UPDATE", (second,))
        worker.run_once()
        assert results(ada, job) == [(second, "refused", "locked"), (first, "done", None)]


def test_job_that_is_locked_itself_waits_and_leaves_no_order_out(ada, url, console, orders, begin, monkeypatch):
    orders(1)
    job = begin(CANCEL)
    held = job_steps.claim(console.database, "w")
    assert job_steps.step(console.database, held) is Step.COLLECTED
    transact, asked = console.database.transact, []
    with closing(psycopg2.connect(url)) as other, other.cursor() as cursor, monkeypatch.context() as patched:

        def lock_ends_before_the_second(work):
            asked.append(work)
            if len(asked) == 2:
                other.rollback()
            return transact(work)

        patched.setattr(console.database, "transact", lock_ends_before_the_second)
        cursor.execute("SELECT 1 FROM bulk_jobs FOR UPDATE")
        with pytest.raises(RowsLocked):
            job_steps.step(console.database, held)
    assert results(ada, job)[0][1] is None
    assert job_steps.step(console.database, held) is Step.ACTED
    assert results(ada, job)[0][1] == "done"


def test_job_that_cannot_be_collected_ends(ada, worker, orders, begin, monkeypatch):
    job = begin(CANCEL)
    monkeypatch.setattr(job_steps.statements, "BEGIN", "SELECT 1 / 0")
    monkeypatch.setattr(job_steps.log, "exception", lambda *_: None)
    worker.run_once()
    assert sums(ada, job)["stop_reason"] == "failed"


def test_orders_are_acted_on_at_the_rate(worker, orders, begin, monkeypatch):
    orders(3)
    begin(CANCEL | {"rate_per_s": 4})
    pauses = []
    monkeypatch.setattr(worker._stopping, "wait", pauses.append)
    worker.run_once()
    collecting, *acting = pauses
    assert (collecting, len(acting)) == (COLLECT_PAUSE_S, 3)
    assert acting[0] <= 0.25
    assert sum(acting) > 0.4  # nobody waited in fact, so that each pause begins where the one before ended


def test_worker_pauses_after_each_page_that_it_collects(worker, begin, monkeypatch):
    begin(CANCEL)
    steps = iter([Step.COLLECTED, Step.COLLECTED, Step.ENDED])
    monkeypatch.setattr(job_steps, "step", lambda *_: next(steps))
    pauses = []
    monkeypatch.setattr(worker._stopping, "wait", pauses.append)
    worker.run_once()
    assert pauses == [COLLECT_PAUSE_S] * 2


def test_thread_works_until_it_is_stopped_and_lets_go(ada, console, world, orders, begin):
    orders(2)
    worker = JobWorker(console)
    worker.start()
    job = begin(CANCEL)
    eventually(lambda: sums(ada, job)["state"] == "done")
    slow = begin(RETRY | {"rate_per_s": 1})
    eventually(lambda: sums(ada, slow)["done"] == 1)
    worker.stop()
    assert "jobs" not in {thread.name for thread in threading.enumerate()}
    assert world.sql("SELECT state, claimed_by FROM bulk_jobs WHERE id = %(id)s", id=slow) == [("running", None)]
    assert JobWorker(console).run_once()
    assert sums(ada, slow)["done"] == 2


def test_jobs_are_listed_newest_first_page_by_page(ada, begin, monkeypatch):
    made = [begin(RETRY) for _ in range(3)]
    monkeypatch.setattr(jobs, "PAGE", 2)
    first = ada.get("/api/jobs").json
    rest = ada.get("/api/jobs", cursor=first["next_cursor"]).json
    assert [job["job_id"] for job in first["jobs"] + rest["jobs"]] == made[::-1]
    assert rest["next_cursor"] is None


def test_items_are_listed_page_by_page(ada, worker, orders, begin, monkeypatch):
    orders(3)
    job = begin(CANCEL)
    worker.run_once()
    monkeypatch.setattr(jobs, "MAX_ITEMS", 2)
    first = ada.get(f"/api/jobs/{job}").json
    rest = ada.get(f"/api/jobs/{job}", after=first["next_after"]).json
    assert [item["number"] for item in first["items"] + rest["items"]] == [1, 2, 3]
    assert rest["next_after"] is None


def test_pages_ask_begin_watch_and_stop(ada, person, worker, orders, world):
    orders(2)
    listed = ada.page("/orders?status=AUTHORIZED")
    assert "/jobs/new?action=cancel&amp;status=AUTHORIZED" in listed
    asked = ada.page("/jobs/new?action=cancel&status=AUTHORIZED")
    assert "Cancel 2 orders?" in asked
    assert "2 orders, 50.00 USD in all: each that is still open is cancelled." in asked
    form = {"action": "cancel", "reason": "other", "rate": "5", "filter.status": "AUTHORIZED"}
    fewer = ada.send("/jobs", **form, expected="1")
    assert fewer.location == "/jobs/new?action=cancel&status=AUTHORIZED"
    assert "More orders match now than you have seen." in ada.page(fewer.location)
    begun = ada.send("/jobs", **form, expected="2")
    assert begun.status_code == 303, begun.text
    assert "Stop this job" in ada.page(begun.location)
    assert "Stop this job" not in person("viewer").page(begun.location)
    stopped = ada.send(f"{begun.location}/stop")
    assert "The job is stopped after 0 of 0 orders." in ada.page(stopped.location)
    again = ada.send("/jobs", **form, expected="2")
    worker.run_once()
    assert "2 of 2 orders" in ada.page(f"{again.location}/live")
    assert "None." in ada.page(f"{again.location}?result=refused")
    assert ada.page("/jobs").count('href="/jobs/') == 2


def test_effect_of_a_job_names_the_number_and_the_sum(ada, orders, monkeypatch):
    orders(1)
    asked = "/jobs/new?action=retry&client=shop"
    assert "1 order, 25.00 USD in all: each that is still open is tried again now." in ada.page(asked)
    orders(2)
    monkeypatch.setattr(jobs, "MAX_COUNT", 2)
    assert "More than 2 orders, more than 75.00 USD in all: each that is still open" in ada.page(asked)


@pytest.mark.parametrize("action", ["retry", "cancel"])
def test_job_over_orders_that_have_ended_is_not_offered(ada, orders, world, completed, action):
    ended = "status=COMPLETED,FAILED"
    assert "/jobs/new" not in ada.page(f"/orders?{ended}")
    assert f"/jobs/new?action={action}" in ada.page(f"/orders?{ended},AUTHORIZED")
    asked = ada.page(f"/jobs/new?action={action}&{ended}")
    assert "These orders have ended: none of them can be retried or cancelled." in asked
    assert '<form method="post" action="/jobs"' not in asked
    assert '<form method="post" action="/jobs"' in ada.page(f"/jobs/new?action={action}&{ended},AUTHORIZED")
    form = {"action": action, "reason": "other", "rate": "5", "filter.status": "COMPLETED,FAILED"}
    refused = ada.send("/jobs", **form)
    assert (refused.status_code, "none of them can be retried" in refused.text) == (400, True)
    assert world.sql("SELECT id FROM bulk_jobs") == []


def test_job_that_was_made_over_orders_that_have_ended_is_found_by_its_key(ada, world, completed, monkeypatch):
    monkeypatch.setattr(jobs, "check_some_are_open", lambda *_: None)
    made = ada.post("/api/jobs", "k", **RETRY, filter={"status": "COMPLETED"})
    monkeypatch.undo()
    assert ada.post("/api/jobs", "k", **RETRY, filter={"status": "COMPLETED"}).json == made.json


def test_job_over_all_orders_is_not_offered(ada, orders, world):
    orders(2)
    assert "/jobs/new" not in ada.page("/orders")
    asked = ada.browser.get("/jobs/new?action=cancel")
    assert (asked.status_code, "Say which orders" in asked.text) == (400, True)
    assert ada.send("/jobs", action="cancel", reason="other", rate="5").status_code == 400
    assert world.sql("SELECT id FROM bulk_jobs") == []


def test_part_of_a_job_is_live_until_it_ends(ada, worker, orders, begin):
    orders(1)
    job = begin(CANCEL)
    path = f"/jobs/{job}/live"
    first = ada.browser.get(path)
    assert "data-live" in first.text
    again = ada.browser.get(path, headers={"If-None-Match": first.headers["ETag"]})
    assert again.status_code == 304
    worker.run_once()
    assert "data-live" not in ada.page(path)
    page = ada.page(f"/jobs/{job}")
    assert "data-live" not in page
    assert "data-pause" in page


def test_job_form_without_sense_is_refused(ada, world):
    form = {"action": "cancel", "reason": "other", "rate": "5", "filter.status": "AUTHORIZED"}
    for wrong in ({"rate": "fast"}, {"rate": "51"}, {"filter.status": "LOST"}, {"key": ""}, {"reason": "because"}):
        assert ada.send("/jobs", **(form | wrong)).status_code == 400
    assert world.sql("SELECT id FROM bulk_jobs") == []


@pytest.mark.parametrize("filters", [{}, {"needs_attention": False}])
@pytest.mark.parametrize("job", [RETRY, CANCEL])
def test_job_on_all_orders_is_refused(ada, world, orders, filters, job):
    orders(1)
    answer = ada.post("/api/jobs", **job, filter=filters)
    assert answer.status_code == 400
    assert "at least one filter" in answer.text
    form = {f"filter.{name}": str(value).lower() for name, value in filters.items()}
    sent = ada.send("/jobs", action=job["action"], reason=job["reason"], rate="5", **form)
    assert (sent.status_code, "at least one filter" in sent.text) == (400, True)
    assert "/jobs/new" not in ada.page("/orders")
    assert world.sql("SELECT 1 FROM bulk_jobs") == []


def test_refused_form_of_a_job_keeps_what_was_written(ada, orders):
    orders(1)
    sent = ada.send(
        "/jobs", action="cancel", reason="fraudulent", note="calls & asks", rate="x", **{"filter.status": "AUTHORIZED"}
    )
    assert sent.status_code == 400
    assert '<option value="fraudulent" selected>' in sent.text
    assert 'value="calls &amp; asks"' in sent.text
    assert "Not a whole number." in sent.text


def test_bad_cursor_of_the_list_is_named_on_the_page(ada):
    page = ada.page("/jobs?cursor=x")
    assert 'role="alert"><b>cursor</b>' in page


def test_worker_tells_that_it_lives_until_it_stops(console, world):
    def beats():
        return world.sql("SELECT process, (loops -> 'jobs') IS NOT NULL FROM process_heartbeats")

    worker = JobWorker(console)
    worker.start()
    eventually(lambda: beats() == [("console", True)])
    first = worker.progress.ago_s
    eventually(lambda: worker.progress.ago_s < first)
    worker.stop()
    assert beats() == []
