"""Every file of others is declared with its version, licence and hash, and is what its authors published."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from supply_chain.vendored import Component, components
from tests.supply_chain.test_locks import PROJECT

STATIC = ("common/api/static", "console/static")
OURS = {"page.css", "console.css", "console.js", "overview.js", "theme.js", "icon.svg"}
LICENCES = "LICENSE"
IN_WORDS = {"0BSD": "Zero-Clause BSD"}
# What each file says of its version. A style sheet says nothing.
SAYS = {
    "rapidoc-min.js.gz": "RapiDoc {} ", "htmx.min.js": 'version:"{}"', "uPlot.iife.min.js": "(v{})",
    "uPlot.min.css": "",
}  # fmt: skip


@pytest.mark.parametrize("component", components(PROJECT), ids=lambda each: Path(each.file).name)
def test_vendored_file_is_the_published_one(component: Component) -> None:
    assert component.is_unchanged(PROJECT)
    path = PROJECT / component.file
    text = (gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()).decode()
    assert SAYS[path.name].format(component.version) in text


def test_every_static_file_is_ours_or_declared() -> None:
    declared = {each.file for each in components(PROJECT)}
    files = [path for folder in STATIC for path in (PROJECT / folder).iterdir() if path.name not in OURS]
    assert {str(path.relative_to(PROJECT)) for path in files if not path.name.startswith(LICENCES)} == declared


def test_licence_of_each_vendored_file_is_beside_it() -> None:
    for each in components(PROJECT):
        (licence,) = (PROJECT / each.file).parent.glob(f"{LICENCES}.{each.name}*")
        assert IN_WORDS.get(each.licence, each.licence) in licence.read_text(encoding="utf-8")
