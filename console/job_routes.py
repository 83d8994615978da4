"""The API of jobs: one action on all orders that fit a filter."""

from __future__ import annotations

from typing import Any

from flask import g

from common.api.errors import IdempotencyKeyReused
from common.api.routes import Api
from common.database.database import Row
from console import job_schemas, jobs
from console.access import OPERATOR, VIEWER
from console.context import Console
from console.errors import JobHasEnded, MoreOrdersFit, NoSuchJob
from console.jobs import Sent

api = Api("Jobs", "A part of the console's API.")


@api.route(
    "POST",
    "/api/jobs",
    access=OPERATOR,
    body=job_schemas.NewJob,
    answer=job_schemas.Job,
    status=202,
    idempotency_key=True,
    sent=True,
    leads_to={"job_id": "job_id"},
    errors=(MoreOrdersFit, IdempotencyKeyReused),
)
def create_job(console: Console, idempotency_key: str, body: Row, sent: Row) -> Row:
    """Act on all orders that fit a filter: those that are there now, one after the other, at a rate.

    An order that does not fit any more when its turn comes is left alone.
    """
    return jobs.create(console.database, g.operator, Sent(idempotency_key, sent["filter"]), body)


@api.route("GET", "/api/jobs", access=VIEWER, query=job_schemas.JobQuery, answer=job_schemas.JobPage)
def list_jobs(console: Console, query: dict[str, Any]) -> Row:
    """List the jobs of all operators, newest first."""
    return jobs.page(console.database, query.get("cursor"))


@api.route("GET", "/api/jobs/count", access=VIEWER, query=job_schemas.CountQuery, answer=job_schemas.OrderCount)
def count_orders(console: Console, query: dict[str, Any]) -> Row:
    """Count the orders that fit a filter, up to 10,000."""
    return jobs.count(console.database, query)


@api.route(
    "GET",
    "/api/jobs/<uuid:job_id>",
    access=VIEWER,
    query=job_schemas.ItemQuery,
    answer=job_schemas.JobDetails,
    errors=(NoSuchJob,),
)
def get_job(console: Console, job_id: str, query: dict[str, Any]) -> Row:
    """Show a job, and one page of its orders with their results. Send `next_after` as `after` for the next page."""
    return jobs.with_items(console.database, job_id, query)


@api.route(
    "POST", "/api/jobs/<uuid:job_id>/stop", access=OPERATOR, answer=job_schemas.Job, errors=(NoSuchJob, JobHasEnded)
)
def stop_job(console: Console, job_id: str) -> Row:
    """Stop a job. What it has done stays done."""
    return jobs.stop(console.database, g.operator, job_id)
