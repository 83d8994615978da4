"""`python -m stripe_double.excerpt spec3.json`: write openapi.json, the part of Stripe's OpenAPI that our answers need.

The document is https://github.com/stripe/openapi, `spec3.json`, under the MIT licence (LICENSE.openapi).

An expandable field is kept as an id only, except those that we expand. Descriptions are left out. Everything else is as
published.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

OBJECTS = ("charge", "error", "event", "payment_intent", "refund")
EXPANDED = (("payment_intent", "latest_charge"),)
FILE = Path(__file__).with_name("openapi.json")


def excerpt(spec: dict[str, Any]) -> dict[str, Any]:
    schemas = spec["components"]["schemas"]
    kept: dict[str, Any] = {}
    wanted = list(OBJECTS)
    while wanted:
        name = wanted.pop()
        if name not in kept:
            kept[name] = _without_expansions(schemas[name])
            for field in (field for owner, field in EXPANDED if owner == name):
                published = schemas[name]["properties"][field]
                kept[name]["properties"][field] = {part: published[part] for part in ("anyOf", "nullable")}
            wanted += _references(kept[name])
    return {"info": spec["info"], "components": {"schemas": dict(sorted(kept.items()))}}


def _without_expansions(part: Any) -> Any:
    if isinstance(part, list):
        return [_without_expansions(each) for each in part]
    if not isinstance(part, dict):
        return part
    if "x-expansionResources" in part:
        return {"type": "string", **({"nullable": True} if part.get("nullable") else {})}
    return {name: _without_expansions(each) for name, each in part.items() if not _is_text(name, each)}


def _is_text(name: str, value: Any) -> bool:
    return (name == "description" and isinstance(value, str)) or name in ("x-expandableFields", "x-resourceId")


def _references(part: Any) -> list[str]:
    if isinstance(part, list):
        return [name for each in part for name in _references(each)]
    if not isinstance(part, dict):
        return []
    own = [part["$ref"].rpartition("/")[2]] if isinstance(part.get("$ref"), str) else []
    return own + _references(list(part.values()))


if __name__ == "__main__":
    content = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    FILE.write_text(json.dumps(excerpt(content), separators=(",", ":"), sort_keys=True) + "\n", encoding="utf-8")
