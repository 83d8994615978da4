"""The pages of jobs: the number of orders and the question, the list, and one job as it runs."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from flask import redirect, render_template, request, url_for
from werkzeug.wrappers import Response

from common.api.errors import ApiError
from common.api.routes import load
from common.database.database import Row
from console import effects, forms, jobs
from console.context import Console
from console.errors import MoreOrdersFit
from console.forms import filled, whole_number
from console.job_schemas import ItemQuery, JobFilter, JobQuery, NewJob
from console.job_states import ACTIONS, MAX_RATE
from console.jobs import Sent
from console.pages import live, operator, page, tell
from domain.refunds import REASONS

FILTER = "filter."
RATE = 5
Answer = str | Response | tuple[str, int]


@page("GET", "/jobs", role="viewer")
def job_list(console: Console) -> str:
    _, query, problems = forms.asked(JobQuery())
    return render_template("jobs.html", **jobs.page(console.database, query.get("cursor")), problems=problems)


@page("GET", "/jobs/new", role="operator")
def new_job(console: Console) -> str:
    """How many orders the job would act on, and the question."""
    action = request.args.get("action", "")
    filters = {name: value for name, value in request.args.items() if name != "action" and value.strip()}
    action = action if action in ACTIONS else ACTIONS[0]
    return render_template("job_new.html", **_question(console, action, filters), key=forms.new_key())


@page("POST", "/jobs", role="operator")
def create_job_form(console: Console) -> Answer:
    form = request.form
    filters: dict[str, str] = {name.removeprefix(FILTER): form[name] for name in form if name.startswith(FILTER)}
    try:
        job = jobs.create(console.database, operator(), Sent(forms.key(), dict(filters)), _wanted(filters))
    except MoreOrdersFit:
        tell(console, "More orders match now than you have seen. Nothing was done: look at the number again.")
        return redirect(url_for(".new_job", action=form.get("action", ""), **cast(dict[str, Any], filters)), 303)
    except ApiError as error:
        return forms.refused(error, "job_new.html", **_question(console, form.get("action", ""), filters))
    return redirect(url_for(".job_page", job_id=job["job_id"]), 303)


def _wanted(filters: dict[str, str]) -> Row:
    """:raises ValidationFailed:"""
    form = request.form
    body: Row = {
        **filled(form, "action", "reason", "note"),
        "filter": filters,
        "rate_per_s": whole_number(form, "rate"),
    }
    if form.get("expected"):
        body["expected"] = whole_number(form, "expected")
    wanted: Row = load(NewJob(), body)
    return wanted


def _question(console: Console, action: str, filters: dict[str, str]) -> Row:
    """What the page before a job shows, also after a refusal. :raises ValidationFailed: the filter"""
    query = load(JobFilter(), filters)
    jobs.check_filter(query)
    counted = jobs.count(console.database, query)
    return {
        "action": action,
        "filters": filters,
        "counted": counted,
        "have_ended": jobs.HAVE_ENDED if jobs.have_ended(query) else None,
        "effect": effects.of_job(action, counted),
        "given": request.form,
        "reasons": REASONS,
        "rate": RATE,
        "max_rate": MAX_RATE,
    }


@page("GET", "/jobs/<uuid:job_id>", role="viewer")
def job_page(console: Console, job_id: str) -> str:
    return render_template("job.html", **_shown(console, job_id), now=datetime.now(UTC))


@page("GET", "/jobs/<uuid:job_id>/live", role="viewer")
def job_fragment(console: Console, job_id: str) -> Response:
    """The part of a job's page that changes. The page asks for it while the job runs."""
    return live(render_template("job_body.html", **_shown(console, job_id)))


@page("POST", "/jobs/<uuid:job_id>/stop", role="operator")
def stop_job_form(console: Console, job_id: str) -> Response:
    stopped = jobs.stop(console.database, operator(), job_id)
    tell(console, f"The job is stopped after {stopped['acted_on']} of {stopped['total']} orders.")
    return redirect(url_for(".job_page", job_id=job_id), 303)


def _shown(console: Console, job_id: str) -> dict[str, Any]:
    given = {name: request.args[name] for name in ("result", "after") if request.args.get(name)}
    job = jobs.with_items(console.database, job_id, load(ItemQuery(), given))
    left = (job["total"] - job["acted_on"]) / job["rate_per_s"] if job["ended_at"] is None else None
    return {"job": job, "given": given, "left_ms": None if left is None else left * 1000}
