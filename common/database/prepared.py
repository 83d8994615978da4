"""Statements as the server keeps them prepared: 40 % of its time for us went into reading and planning them anew.

psycopg2 knows no prepared statements, so PREPARE and EXECUTE are sent as SQL (docs/decisions/0016).
"""

from __future__ import annotations

import hashlib
import re
from functools import cache
from itertools import count
from typing import NamedTuple

PARAMETER = re.compile(r"%\((\w+)\)s(::\w+(?:\[\])?)?")
PREPARABLE = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")


class Prepared(NamedTuple):
    name: str
    """Made from the text, so that two connections that are in truth one cannot mean two things by it."""
    prepare: str
    execute: str
    """With the same named parameters as the statement itself."""


@cache
def prepared(sql: str) -> Prepared | None:
    """None: it is of a kind that cannot be prepared."""
    if not PREPARABLE.match(sql):
        return None
    name = f"holdfast_{hashlib.sha256(sql.encode()).hexdigest()[:16]}"
    numbers = count(1)  # a number for each place: one parameter may be of two types in two places
    text = PARAMETER.sub(lambda found: f"${next(numbers)}{found[2] or ''}", sql).replace("%%", "%")
    arguments = ", ".join(found[0] for found in PARAMETER.finditer(sql))
    return Prepared(name, f"PREPARE {name} AS {text}", f"EXECUTE {name}{f'({arguments})' if arguments else ''}")
