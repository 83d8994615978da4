"""Who may call a route. Each route declares it, and nothing reaches a view without it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Public:
    """Anyone, without a credential: the index, the probes and the documentation."""


@dataclass(frozen=True)
class Scope:
    """A client whose key has this scope."""

    name: str


@dataclass(frozen=True)
class Callers:
    """These services, each with its own token."""

    names: frozenset[str]


@dataclass(frozen=True)
class Role:
    """An operator with this role, or a higher one."""

    name: str


@dataclass(frozen=True)
class Signed:
    """A sender who signs the body. The view checks the signature."""

    header: str
    """The one with the signature."""


Access = Public | Scope | Callers | Role | Signed
Guard = Callable[[str | None, Access], str]
"""Checks a request's Authorization header against a route's declaration, and returns the caller's name.

Raises Unauthorized or Forbidden.
"""

PUBLIC = Public()


def callers(*names: str) -> Callers:
    return Callers(frozenset(names))
