"""The list of mutants: the protection that each removes, the edit, and the test that must then fail."""

from __future__ import annotations

import ast
import re
import textwrap
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from tests.mutants import definitions, nodes
from tests.mutants.definitions import MIGRATIONS, Definition, NotFound, span_of
from tests.mutants.source import Span, nearest, occurrences, tokens, without_comments

LISTS = Path(__file__).parent
VERBS = {"replace", "drop", "negate", "set", "begin"}


class DoesNotApply(Exception):
    """A mutant does not fit the code. The message says what was looked for and what resembles it."""


@dataclass(frozen=True)
class Edit:
    """One change within one definition.

    replace: put `by` in the place of `text`. drop: remove `text` (a whole statement becomes `pass`).
    negate: turn the condition `text` around. set: give the constant the value `text`.
    begin: put the statement `text` first in the function.
    """

    target: str
    verb: str
    text: str
    by: str = ""
    after: str = ""
    """`text` is searched for after this; the first occurrence counts."""

    def apply(self, root: Path) -> Path:
        """Edit the tree at `root`. :returns: the file. :raises DoesNotApply:"""
        path, text = self.result(root)
        path.write_text(text, encoding="utf-8")
        return path

    def result(self, root: Path) -> tuple[Path, str]:
        """The file and its text after the edit. :raises DoesNotApply:"""
        try:
            definition = definitions.find(root, self.target)
        except NotFound as error:
            raise DoesNotApply(str(error)) from None
        source = definition.path.read_text(encoding="utf-8")
        span, new = self._change(source, definition)
        result = source[: span.start] + _indented(new, source, span.start) + source[span.end :]
        if definition.is_python:
            _check_syntax(result, self.target)
        return definition.path, result

    def _change(self, source: str, definition: Definition) -> tuple[Span, str]:
        if self.verb == "set":
            return span_of(source, _value(definition, self.target)), self.text
        if self.verb == "begin":
            start = span_of(source, _first_statement(definition, self.target)).start
            return Span(start, start), self.text + "\n"
        span = self._find(source, definition)
        if self.verb == "negate":
            return span, f"not ({source[span.start : span.end]})"
        if self.verb == "drop" and definition.is_python:
            return (span, "pass") if span in _statements(source) else (_with_comma(source, span), "")
        return span, self.by

    def _find(self, source: str, definition: Definition) -> Span:
        span = definition.span
        if self.after:
            span = Span(self._once(self.after, source, span, definition).end, span.end)
        return self._once(self.text, source, span, definition, is_first=bool(self.after))

    def _once(self, text: str, source: str, within: Span, definition: Definition, *, is_first: bool = False) -> Span:
        blanked = without_comments(source, is_python=definition.is_python)
        wanted = [token.text for token in tokens(without_comments(text, is_python=False))]
        where = tokens(blanked, within)
        if self.target.startswith(f"{MIGRATIONS}:"):  # SQL does not tell upper case from lower case
            wanted, where = [word.lower() for word in wanted], [each._replace(text=each.text.lower()) for each in where]
        found = occurrences(where, wanted)
        if len(found) == 1 or (found and is_first):
            return found[0]
        place = f"{self.target} ({definition.path.name}, line {source.count(chr(10), 0, within.start) + 1})"
        if found:
            raise DoesNotApply(f"{place} contains {len(found)} times: {text}\nMake it longer, or say `after`.")
        likely = nearest(where, wanted)
        hint = f"Nearest: {source[likely.start : likely.end]}" if likely else "Nothing there resembles it."
        raise DoesNotApply(f"{place} does not contain: {text}\n{hint}")


@dataclass(frozen=True)
class Mutant:
    name: str
    section: str
    """Of the protocol, with its title."""
    protects: str
    """The guarantee that is lost once the edits are made."""
    edits: tuple[Edit, ...]
    tests: tuple[str, ...]
    """Names of tests, see `nodes.find()`. At least one must fail."""
    expected_error: str = ""
    """The name of an error that these tests cause on purpose and that would otherwise mean invalid code or SQL."""

    def apply(self, root: Path) -> list[Path]:
        """:returns: the edited files. :raises DoesNotApply:"""
        return [edit.apply(root) for edit in self.edits]

    def nodes(self, root: Path) -> list[str]:
        """pytest's node ids of its tests. :raises NotFound:"""
        return [nodes.find(root, test) for test in self.tests]


def load() -> list[Mutant]:
    """All mutants, in the order of the protocol's sections."""
    return [mutant for path in sorted(LISTS.glob("*.toml")) for mutant in _read(path)]


def _read(path: Path) -> list[Mutant]:
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    section = content.pop("section")
    return [_mutant(name, section, fields) for name, fields in content.items()]


def _mutant(name: str, section: str, fields: dict[str, Any]) -> Mutant:
    edits = [_edit(fields)] + [_edit({"target": fields["target"], **also}) for also in fields.get("also", [])]
    tests = fields["test"] if isinstance(fields["test"], list) else [fields["test"]]
    return Mutant(name, section, fields["protects"], tuple(edits), tuple(tests), fields.get("expected_error", ""))


def _edit(fields: dict[str, Any]) -> Edit:
    (verb,) = VERBS & fields.keys()
    return Edit(fields["target"], verb, fields[verb], fields.get("by", ""), fields.get("after", ""))


def _value(definition: Definition, target: str) -> ast.expr:
    if isinstance(definition.node, ast.Assign | ast.AnnAssign) and definition.node.value:
        return definition.node.value
    raise DoesNotApply(f"{target} is not a constant; `set` needs one.")


def _first_statement(definition: Definition, target: str) -> ast.stmt:
    if not isinstance(definition.node, ast.FunctionDef):
        raise DoesNotApply(f"{target} is not a function; `begin` needs one.")
    body = definition.node.body
    return body[1] if ast.get_docstring(definition.node) and len(body) > 1 else body[0]


@cache
def _statements(source: str) -> frozenset[Span]:
    return frozenset(span_of(source, node) for node in ast.walk(ast.parse(source)) if isinstance(node, ast.stmt))


def _with_comma(source: str, span: Span) -> Span:
    """Return an argument or an element together with its comma."""
    before = without_comments(source, is_python=True)[: span.start].rstrip()
    comma = re.compile(r"\s*,").match(source, span.end)
    return Span(span.start, comma.end()) if comma and before[-1:] in {"(", "[", "{", ","} else span


def _indented(new: str, source: str, start: int) -> str:
    """Return `new` with its continuation lines indented like the line it is inserted into."""
    line = source[source.rfind("\n", 0, start) + 1 : start]
    margin = line[: len(line) - len(line.lstrip())]
    return textwrap.indent(textwrap.dedent(new), margin).removeprefix(margin) + (margin if new.endswith("\n") else "")


def _check_syntax(source: str, target: str) -> None:
    try:
        ast.parse(source)
    except SyntaxError as error:
        raise DoesNotApply(f"{target} would not be valid Python: {error}") from None
