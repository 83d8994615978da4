"""Compare source text by its tokens: line breaks, indentation, comments and trailing commas do not matter."""

from __future__ import annotations

import io
import re
import tokenize
from difflib import SequenceMatcher
from functools import cache
from typing import NamedTuple

TOKEN = re.compile(r"\w+|[^\w\s]")
SQL_COMMENT = re.compile(r"--\s.*")
TRAILING_COMMA = re.compile(r",(?=\s*[)\]}])")


class Span(NamedTuple):
    """The characters from `start` up to, not including, `end`."""

    start: int
    end: int


class Token(NamedTuple):
    text: str
    span: Span


@cache
def without_comments(text: str, *, is_python: bool) -> str:
    """Overwrite comments and trailing commas with spaces. Every other character stays at its offset."""
    lines = text.splitlines(keepends=True)
    if is_python:
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                row, column = token.start
                lines[row - 1] = lines[row - 1][:column] + " " * len(token.string) + "\n"
    blanked = SQL_COMMENT.sub(lambda found: " " * len(found[0]), "".join(lines))
    return TRAILING_COMMA.sub(" ", blanked)


def tokens(blanked: str, within: Span | None = None) -> list[Token]:
    """The tokens of text from `without_comments()`."""
    start, end = within or Span(0, len(blanked))
    return [Token(found[0], Span(*found.span())) for found in TOKEN.finditer(blanked, start, end)]


def occurrences(where: list[Token], wanted: list[str]) -> list[Span]:
    """Each place where the tokens `wanted` follow one another."""
    texts, length = [token.text for token in where], len(wanted)
    starts = [number for number in range(len(texts) - length + 1) if texts[number : number + length] == wanted]
    return [Span(where[number].span.start, where[number + length - 1].span.end) for number in starts]


def nearest(where: list[Token], wanted: list[str]) -> Span | None:
    """The run of tokens that resembles `wanted` most."""
    texts, length = [token.text for token in where], len(wanted)
    matcher = SequenceMatcher(b=wanted, autojunk=False)
    best, best_ratio = None, 0.5  # below half, the resemblance is chance
    for number in range(max(len(texts) - length, 0) + 1):
        matcher.set_seq1(texts[number : number + length])
        if matcher.quick_ratio() > best_ratio and matcher.ratio() > best_ratio:
            best, best_ratio = number, matcher.ratio()
    if best is None:
        return None
    return Span(where[best].span.start, where[min(best + length, len(where)) - 1].span.end)
