"""Calls the console's API, for `holdfast ops` and `keys`. Answers are plain dictionaries, as the API documents them."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from holdfast_client.calls import Calls

Row = dict[str, Any]


class ConsoleClient(Calls):
    """The console's API, by an operator's key. Thread-safe.

    Each method raises HoldfastError if the console refuses the call, and Unavailable if it gives no final answer.
    """

    def get(self, path: str, **params: Any) -> Row:
        """:param path: below `/api`, such as `/status`"""
        return self._call("GET", f"/api{path}", lambda response: dict(response.json()), params=params)

    def pages(self, path: str, name: str, **params: Any) -> Iterator[Row]:
        """Yield what a list has, each page when it is needed."""
        return self._pages(f"/api{path}", name, dict, params)

    def act(self, path: str, body: Mapping[str, Any], key: str | None = None, **params: Any) -> Row:
        """Do something, once however often it is sent.

        :param key: the name of this action; None: a new one
        """
        return self._call(
            "POST",
            f"/api{path}",
            lambda response: dict(response.json()),
            key=key or str(uuid.uuid4()),
            params=params,
            json=dict(body),
        )
