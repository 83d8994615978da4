"""The client's wheel in its own environment, next to a program that has a package named `common`."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.credentials import EDGE_KEY
from tests.system.stack import PROJECT, Stack

SHOP = """
import json, sys
import common
import holdfast_client

with holdfast_client.HoldfastClient(sys.argv[1], sys.argv[3]) as client:
    placed = client.place_order(
        user_id="5f0c1e0a-52cf-4f0a-9c0e-0f6d3b1c7a11",
        email="ada@shop.example",
        items=[{"product_id": sys.argv[2], "quantity": 2}],
        payment_token="tok_visa",
    )
    order = client.wait_until_terminal(placed.order_ledger_id)
where = holdfast_client.__file__
print(json.dumps({"status": order.status, "common": common.__file__, "client": where, "path": sys.path}))
"""
OURS = {path.parent.name for path in PROJECT.glob("*/__init__.py")} - {"holdfast_client", "common"}
NONE_OF_OURS = f"import importlib.util as u; print([name for name in {sorted(OURS)} if u.find_spec(name)])"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel of the client")
    copy = folder / "holdfast_client"  # a build leaves files in its source folder
    copy.mkdir()
    for path in (PROJECT / "holdfast_client").rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            target = copy / path.relative_to(PROJECT / "holdfast_client")
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(path.read_bytes())
    options = ["--no-deps", "--no-build-isolation", "--quiet", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, "-w", folder, copy], check=True, timeout=120)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and its requirements, copied from this one instead of downloaded."""
    folder = tmp_path_factory.mktemp("shop")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / "venv"], check=True, timeout=120)
    (site_packages,) = (folder / "venv" / "lib").glob("*/site-packages")
    zipfile.ZipFile(wheel).extractall(site_packages)  # as pip does for a wheel without scripts
    for name in required_by(requirements(wheel)):
        for file in distribution(name).files or []:
            if ".." not in file.parts:
                (site_packages / file).parent.mkdir(parents=True, exist_ok=True)
                (site_packages / file).write_bytes(Path(str(file.locate())).read_bytes())
    return folder / "venv" / "bin" / "python"


def requirements(wheel: Path) -> list[str]:
    with zipfile.ZipFile(wheel) as files:
        (metadata,) = (name for name in files.namelist() if name.endswith(".dist-info/METADATA"))
        return re.findall(r"^Requires-Dist: ([\w.-]+)(?!.*extra ==)", files.read(metadata).decode(), re.MULTILINE)


def required_by(names: list[str]) -> set[str]:
    """Return these distributions and all their requirements."""
    found: set[str] = set()
    while names:
        name = names.pop()
        if name not in found:
            found.add(name)
            needed = [each for each in distribution(name).requires or [] if "extra ==" not in each]
            names += [re.split(r"[^\w.-]", each)[0] for each in needed]
    return found


def run(python: Path, *arguments: str, cwd: Path) -> str:
    return subprocess.run(
        [python, *arguments], cwd=cwd, check=True, timeout=60, stdout=subprocess.PIPE, text=True, env={}
    ).stdout


def test_wheel_has_the_client_and_nothing_else(wheel: Path) -> None:
    names = [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]
    modules = {str(path.relative_to(PROJECT)) for path in (PROJECT / "holdfast_client").rglob("*.py")}
    assert sorted(names) == sorted(modules | {"holdfast_client/py.typed"})


def test_wheel_requires_requests_and_backoff_only(wheel: Path) -> None:
    assert sorted(requirements(wheel)) == ["backoff", "requests"]


def test_command_without_click_says_what_to_install(python: Path, tmp_path: Path) -> None:
    command = [python, "-m", "holdfast_client", "orders", "list"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60, env={})
    assert (told.returncode, told.stdout) == (2, "")
    assert "pip install 'click" in told.stderr
    assert "Traceback" not in told.stderr


def test_shop_with_a_package_called_common_places_an_order(stack: Stack, python: Path, tmp_path: Path) -> None:
    (tmp_path / "common").mkdir()
    (tmp_path / "common" / "__init__.py").touch()
    (tmp_path / "shop.py").write_text(SHOP)
    said = json.loads(run(python, "shop.py", stack.url("web"), stack.product(), EDGE_KEY, cwd=tmp_path))
    assert said["status"] == "COMPLETED"
    assert Path(said["common"]) == tmp_path / "common" / "__init__.py"
    assert Path(said["client"]).is_relative_to(python.parents[1])
    assert not any(Path(entry).resolve() == PROJECT for entry in said["path"])
    assert run(python, "-c", NONE_OF_OURS, cwd=tmp_path) == "[]\n"


@pytest.mark.parametrize("cwd", [PROJECT, Path("/")])
def test_project_imports_the_package_and_not_only_its_folder(cwd: Path) -> None:
    """A folder without `__init__.py` would be imported as an empty namespace package."""
    said = run(Path(sys.executable), "-c", "import holdfast_client as c; print(c.__file__, c.HoldfastClient)", cwd=cwd)
    assert "holdfast_client/__init__.py" in said


def test_client_has_type_hints_for_its_users(python: Path, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from holdfast_client import HoldfastClient\nreveal_type(HoldfastClient().get_order('x').total_amount_cents)\n"
    )
    mypy = [sys.executable, "-m", "mypy", "--python-executable", str(python), "--cache-dir", "/dev/null", "shop.py"]
    told = subprocess.run(mypy, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120).stdout
    assert 'Revealed type is "int"' in told.replace("builtins.int", "int")
