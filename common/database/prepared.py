"""Prepared statements: without them, the server spends 40 % of its time on parsing and planning.

psycopg2 does not support them, so PREPARE and EXECUTE are sent as SQL (docs/decisions/0016).
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from itertools import count
from typing import NamedTuple

PARAMETER = re.compile(r"%\((\w+)\)s(::\w+(?:\[\])?)?")
PREPARABLE = re.compile(r"\s*(SELECT|INSERT|UPDATE|DELETE|WITH)\b")


class Prepared(NamedTuple):
    name: str
    """A hash of the text: clients that share a server connection mean the same statement by the same name."""
    prepare: str
    execute: str
    """It has the same named parameters as the statement itself."""


@lru_cache(1000)  # ours are a few hundred, and one for each combination of filters of a list
def prepared(sql: str) -> Prepared | None:
    """The statement's prepared form. None: statements of its kind cannot be prepared."""
    if not PREPARABLE.match(sql):
        return None
    name = f"holdfast_{hashlib.sha256(sql.encode()).hexdigest()[:16]}"
    numbers = count(1)  # one for each occurrence: a parameter may have two types in two places
    text = PARAMETER.sub(lambda found: f"${next(numbers)}{found[2] or ''}", sql).replace("%%", "%")
    arguments = ", ".join(found[0] for found in PARAMETER.finditer(sql))
    return Prepared(name, f"PREPARE {name} AS {text}", f"EXECUTE {name}{f'({arguments})' if arguments else ''}")
