"""How the paths of routes are written outside of Flask."""

from __future__ import annotations

import re
from functools import cache


@cache
def openapi_path(path: str) -> str:
    """`/orders/<uuid:order_id>` → `/orders/{order_id}`"""
    return re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", path)
