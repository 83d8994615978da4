"""The first page: how everything is, live, with charts of the last hour and day."""

from __future__ import annotations

import json

from flask import render_template
from werkzeug.wrappers import Response

from console.context import Console
from console.pages import live, page


@page("GET", "/", role="viewer")
def overview(console: Console) -> str:
    return render_template("overview.html", status=console.board.status())


@page("GET", "/overview/live", role="viewer")
def overview_fragment(console: Console) -> Response:
    """The figures of the overview. The page asks for them every few seconds."""
    return live(render_template("overview_body.html", status=console.board.status()))


@page("GET", "/charts/hour", role="viewer")
def hour_chart(console: Console) -> Response:
    """The last hour by the minute, as columns of JSON."""
    return live(json.dumps(console.board.hour()), "application/json")


@page("GET", "/charts/day", role="viewer")
def day_chart(console: Console) -> Response:
    """The last day by a quarter of an hour."""
    return live(json.dumps(console.board.day()), "application/json")
