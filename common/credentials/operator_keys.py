"""Keys of operators: `hfo_<id>_<secret>`, made as those of clients. Each has one role."""

from __future__ import annotations

import re

ROLES = ("viewer", "operator", "admin")
"""Each may do what those before it may."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", re.ASCII)
KEY = re.compile(r"hfo_([0-9a-z]{16})_([0-9A-Za-z]{43})", re.ASCII)


def as_text(id_: str, secret: str) -> str:
    return f"hfo_{id_}_{secret}"


def parts(text: str) -> tuple[str, str] | None:
    """A key's id and its secret. None: the text is not a key."""
    found = KEY.fullmatch(text)
    return (found[1], found[2]) if found else None


def covers(role: str, needed: str) -> bool:
    """Whether a role may do what needs another one."""
    return ROLES.index(role) >= ROLES.index(needed)
