"""An operator's keys and browser, for tests of the console."""

from __future__ import annotations

import re
from contextlib import closing
from typing import Any

import psycopg2
from flask import Flask
from werkzeug.test import TestResponse

from common.credentials import operator_keys
from common.database.transaction import Transaction
from console.pages import COOKIE
from ops import operators

SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin", "Origin": "http://localhost"}
"""What a browser says about a form that one of our own pages sends."""


def new_key(url: str, role: str = "viewer", name: str = "ada") -> str:
    with closing(psycopg2.connect(url)) as connection, connection, connection.cursor() as cursor:
        return operators.create(Transaction(cursor), name, role)


def id_of(key: str) -> str:
    return (operator_keys.parts(key) or ("", ""))[0]


class Desk:
    """A browser in front of the console. It keeps its cookies, and asks only when it is told to."""

    def __init__(self, app: Flask, key: str = "", *, path: str = "", **headers: str) -> None:
        """:param key: to sign in with :param path: CONSOLE_PATH"""
        self.client, self.path, self.headers = app.test_client(), path, {**SAME_ORIGIN, **headers}
        if key:
            signed_in = self.sign_in(key)
            assert signed_in.status_code == 303, signed_in.text

    def sign_in(self, key: str, **form: str) -> TestResponse:
        return self.post("/sign-in", key=key, **form)

    def get(self, path: str, **query: Any) -> TestResponse:
        return self.client.get(f"{self.path}{path}", query_string=query or None, headers=self.headers)

    def post(self, path: str, **form: Any) -> TestResponse:
        return self.client.post(f"{self.path}{path}", data=form, headers=self.headers)

    @property
    def is_signed_in(self) -> bool:
        return self.get("/").status_code == 200

    def token(self) -> str:
        cookie = self.client.get_cookie(COOKIE, path=f"{self.path}/")
        return cookie.value if cookie else ""


def text_of(response: TestResponse) -> str:
    """What a person reads: the page without its tags."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", response.text)).strip()
