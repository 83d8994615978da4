"""The pages that show what needs a person, what the audits found, and what operators did."""

from __future__ import annotations

from flask import render_template

from console import attention, audits, forms, record
from console.context import Console
from console.pages import page
from console.watch_schemas import AttentionQuery, RecordQuery


@page("GET", "/attention", role="viewer")
def attention_page(console: Console) -> str:
    given, query, problems = forms.asked(AttentionQuery())
    found = attention.page(console.database, query)
    return render_template(
        "attention.html",
        **found,
        shows_all=query.get("all", False),
        problems=problems,
        more=forms.more("attention_page", found["next_cursor"], given),
    )


@page("GET", "/record", role="viewer")
def record_page(console: Console) -> str:
    given, query, problems = forms.asked(RecordQuery())
    found = {"rows": [], "next_cursor": None} if problems else record.page(console.database, query)
    return render_template(
        "record.html",
        **found,
        given=given,
        problems=problems,
        actions=record.actions(console.database),
        more=forms.more("record_page", found["next_cursor"], given),
    )


@page("GET", "/audit", role="viewer")
def audit_page(console: Console) -> str:
    return render_template("audit.html", **audits.read(console.database))
