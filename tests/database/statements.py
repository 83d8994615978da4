"""The SQL statements of a module, which are named constants."""

import re


def statements_of(module) -> dict[str, str]:
    """Return name → text. Names with a leading underscore are parts of other statements."""
    return {
        name: text
        for name, text in vars(module).items()
        if name.isupper() and not name.startswith("_")
        if isinstance(text, str) and re.search(r"\b(SELECT|INSERT|UPDATE|DELETE)\b", text)
    }
