"""How a call is sent: with its key, a request id and the API key, on a session of its own."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar
from urllib.parse import quote

import requests

from holdfast_client.retries import RETRY_FOR_S, call
from holdfast_client.sessions import Sessions

Result = TypeVar("Result")
Id = str | uuid.UUID


class _Bearer(requests.auth.AuthBase):
    """The API key. It is not a plain header, because a password in the user's .netrc would replace that."""

    def __init__(self, api_key: str) -> None:
        self._header = f"Bearer {api_key}"

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = self._header
        return request


class Calls:
    """See HoldfastClient."""

    def __init__(
        self,
        base_url: str = "http://127.0.0.1:8000",
        api_key: str | None = None,
        *,
        timeout: tuple[float, float] = (2, 10),
        retry_for: float = RETRY_FOR_S,
        trust_env: bool = True,
        session: Callable[[], requests.Session] = requests.Session,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        if not retry_for >= 0:
            raise ValueError("retry_for must be 0 or more")
        self._base_url, self._timeout, self._retry_for, self._sleep = base_url.rstrip("/"), timeout, retry_for, sleep
        auth = _Bearer(api_key) if api_key else None

        def make() -> requests.Session:
            made = session()
            made.trust_env, made.auth = trust_env, auth
            return made

        self._sessions = Sessions(make)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections. A call that is still in flight closes its own when it ends."""
        self._sessions.close()

    def _call(
        self,
        method: str,
        path: str,
        read: Callable[[requests.Response], Result],
        *,
        key: str | None = None,
        wait: float = 0,
        once: bool = False,
        **content: Any,
    ) -> Result:
        """:param once: whether one try is all, because a second one may have a second effect"""
        request_id = str(uuid.uuid4())  # the same for all tries, so that the server's log shows them together

        def send() -> requests.Response:
            with self._sessions.borrow() as session:
                return session.request(
                    method,
                    self._base_url + path,
                    headers={"X-Request-ID": request_id, "Idempotency-Key": key},
                    timeout=(self._timeout[0], self._timeout[1] + wait),
                    allow_redirects=False,  # following one would turn a POST into a GET
                    **content,
                )

        retry_for = 0 if once else self._retry_for
        return call(send, read, key=key, request_id=request_id, retry_for=retry_for, sleep=self._sleep)

    def _pages(
        self, path: str, name: str, read: Callable[[Mapping[str, Any]], Result], params: Mapping[str, Any]
    ) -> Iterator[Result]:
        """Yield what the pages of a list have, each page when it is needed."""

        def page(response: requests.Response) -> tuple[list[Result], str | None]:
            body = response.json()
            return [read(each) for each in body[name]], body["next_cursor"]

        cursor: str | None = None
        while True:
            found, cursor = self._call("GET", path, page, params={**params, **given(cursor=cursor)})
            yield from found
            if cursor is None:
                return


def path_of(kind: str, id_: Id) -> str:
    """The path of one object. No id can change another part of it."""
    return f"/{kind}/{quote(str(id_), safe='')}"


def given(**fields: Any) -> dict[str, Any]:
    """The fields that are not None."""
    return {name: value for name, value in fields.items() if value is not None}
