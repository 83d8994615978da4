"""Links and pictures of the documentation lead somewhere, and its index has every page."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tests.browser.docs_pictures import FOLDER, LOOKS, PICTURES
from tests.docs.pages import PAGES, PROJECT

DECISIONS = tuple(f"docs/decisions/{path.name}" for path in sorted((PROJECT / "docs" / "decisions").glob("*.md")))
LINK = re.compile(r'\]\(([^)\s]+)\)|(?:src|srcset)="([^"]+)"')
MAX_BYTES = 150_000


def links(text: str) -> list[str]:
    """Links within the repository."""
    found = [one or other for one, other in LINK.findall(text)]
    return [link for link in found if not re.match(r"\w+:", link)]


def anchors(text: str) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def leads_somewhere(page: str, link: str) -> bool:
    path, _, anchor = link.partition("#")
    target = PROJECT / (os.path.normpath(Path(page).parent / path) if path else page)
    return target.exists() and (not anchor or anchor in anchors(target.read_text(encoding="utf-8")))


@pytest.mark.parametrize("page", [*PAGES, *DECISIONS, "CHANGELOG.md"])
def test_links_lead_somewhere(page: str) -> None:
    text = (PROJECT / page).read_text(encoding="utf-8")
    assert [link for link in links(text) if not leads_somewhere(page, link)] == []


def test_index_has_every_page() -> None:
    listed = links((PROJECT / "docs" / "README.md").read_text(encoding="utf-8"))
    pages = {path.name for path in (PROJECT / "docs").glob("*.md")} - {"README.md"}
    assert pages - {link.partition("#")[0] for link in listed} == set()


def test_every_picture_of_the_console_is_there_and_small() -> None:
    page = (PROJECT / "docs" / "console.md").read_text(encoding="utf-8")
    for name in [f"{name}-{look}.png" for name in PICTURES for look in LOOKS]:
        assert f"images/console/{name}" in page
        assert (FOLDER / name).stat().st_size <= MAX_BYTES, name


def test_broken_link_is_found() -> None:
    assert links("[a](b.md#c) [d](https://e.example)") == ["b.md#c"]
    assert not leads_somewhere("README.md", "docs/no-such-page.md")
    assert not leads_somewhere("README.md", "docs/operate.md#no-such-heading")
