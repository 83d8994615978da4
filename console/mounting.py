"""The console under a path, such as `/ops/holdfast`, whether the proxy in front removes that path or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from flask import Flask

Wsgi = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]


def under_path(app: Flask, path: str) -> None:
    """All links then begin with `path`. Empty: the console has an address of its own."""
    if path:
        app.wsgi_app = _Under(app.wsgi_app, path)  # type: ignore[assignment,method-assign]


class _Under:
    def __init__(self, inner: Wsgi, path: str) -> None:
        self._inner, self._path = inner, path

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        asked = environ.get("PATH_INFO", "")
        if asked == self._path or asked.startswith(f"{self._path}/"):
            environ["PATH_INFO"] = asked[len(self._path) :] or "/"
        environ["SCRIPT_NAME"] = self._path
        return self._inner(environ, start)
