"""A page of the console as a browser reads it: its links, and its forms with what can be filled in."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from html.parser import HTMLParser

# By the name of a field that is typed. Any other one stays empty.
TYPED = {
    "reason": "seen in the storm",
    "text": "Looked at in the storm.",
    "quantity": "2",
    "rate": "20",
    "since": "2020-01-01T00:00:00Z",
}
PIECES = "pieces:"


@dataclass
class Form:
    """A form that is posted."""

    action: str
    hidden: dict[str, str] = field(default_factory=dict)
    choices: dict[str, list[str]] = field(default_factory=dict)
    """The options of a list, and the values of radio buttons."""
    boxes: list[str] = field(default_factory=list)
    typed: list[str] = field(default_factory=list)

    def filled(self, chance: random.Random) -> dict[str, str]:
        """Values of all fields, as somebody might choose them."""
        found = {**self.hidden, **{name: chance.choice(values) for name, values in self.choices.items()}}
        found |= {name: "on" for name in self.boxes if found.get("what") != "amount" and chance.random() < 0.5}
        found |= {name: TYPED.get(name, "") for name in self.typed}
        if found.get("what") == "amount":
            found["amount"] = f"{chance.randrange(1, 3000) / 100:.2f}"
        pieces = [name for name in self.typed if name.startswith(PIECES)]
        if found.get("what") == "items" and pieces:
            found[chance.choice(pieces)] = "1"
        return found


class Page(HTMLParser):
    """:param html: of the page"""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.links: list[str] = []
        """Paths, with their queries."""
        self.forms: list[Form] = []
        self._open: Form | None = None
        self._list = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        if tag == "a" and given.get("href", "").startswith("/"):
            self.links.append(given["href"])
        elif tag == "form" and given.get("method") == "post":
            self._open = Form(given["action"])
            self.forms.append(self._open)
        elif self._open and tag in ("input", "select", "textarea", "option"):
            self._add(self._open, tag, given)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._open = None

    def _add(self, form: Form, tag: str, given: dict[str, str]) -> None:
        name, kind = given.get("name", ""), given.get("type", "text") if tag == "input" else tag
        if kind == "hidden":
            form.hidden[name] = given.get("value", "")
        elif kind == "checkbox":
            form.boxes.append(name)
        elif kind == "radio":
            form.choices.setdefault(name, []).append(given["value"])
        elif kind == "select":
            self._list = name
        elif kind == "option":
            form.choices.setdefault(self._list, []).append(given.get("value", ""))
        else:
            form.typed.append(name)
