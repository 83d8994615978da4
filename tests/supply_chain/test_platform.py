"""A platform's buildpack installs requirements.txt and nothing else. Every process starts from that."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.supply_chain.test_locks import ENVIRONMENTS, PROJECT, versions

PROCESSES = dict(line.split(": ", 1) for line in (PROJECT / "Procfile").read_text().splitlines())


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment with the packages of requirements.txt, copied from this one instead of downloaded."""
    folder = tmp_path_factory.mktemp("platform") / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True, timeout=120)
    (site_packages,) = (folder / "lib").glob("*/site-packages")
    for name in versions("requirements.txt", ENVIRONMENTS[0]):
        for file in distribution(name).files or []:
            if ".." not in file.parts:
                (site_packages / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(str(file.locate()), site_packages / file)
    return folder / "bin" / "python"


def run(python: Path, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [python, *words], cwd=PROJECT, env={**os.environ, **environ}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip


@pytest.mark.parametrize("process", [name for name, line in PROCESSES.items() if line.startswith("gunicorn ")])
def test_web_process_starts_from_requirements_txt(python: Path, url: str, process: str) -> None:
    started = run(python, "-m", *shlex.split(PROCESSES[process]), "--check-config", DATABASE_URL=url)
    assert started.returncode == 0, started.stderr


@pytest.mark.parametrize("module", ["orchestrator.__main__", "ops.__main__"])
def test_program_can_be_imported_from_requirements_txt(python: Path, module: str) -> None:
    imported = run(python, "-W", "error", "-c", f"import {module}")
    assert imported.returncode == 0, imported.stderr


def test_nothing_else_is_installed(python: Path) -> None:
    assert run(python, "-c", "import pytest").returncode == 1
    assert run(python, "-c", "import importlib.metadata as m; m.version('holdfast')").returncode == 1
