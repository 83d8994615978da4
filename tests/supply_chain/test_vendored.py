"""Every file of others is declared with its version, licence and hash, and is what its authors published."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from supply_chain.vendored import Component, components
from tests.supply_chain.test_locks import PROJECT

OURS = {"page.css"}
LICENCES = "LICENSE"


@pytest.mark.parametrize("component", components(PROJECT), ids=lambda each: each.name)
def test_vendored_file_is_the_published_one(component: Component) -> None:
    assert component.is_unchanged(PROJECT)
    head = gzip.decompress((PROJECT / component.file).read_bytes())[:200].decode()
    assert f"RapiDoc {component.version} " in head


def test_every_static_file_is_ours_or_declared() -> None:
    static = PROJECT / "common" / "api" / "static"
    declared = {Path(each.file).name for each in components(PROJECT)}
    assert {path.name for path in static.iterdir() if not path.name.startswith(LICENCES)} - OURS == declared


def test_licence_of_each_vendored_file_is_beside_it() -> None:
    for each in components(PROJECT):
        (licence,) = (PROJECT / each.file).parent.glob(f"{LICENCES}.{each.name}*")
        assert each.licence in licence.read_text(encoding="utf-8")
