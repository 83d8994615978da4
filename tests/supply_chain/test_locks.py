"""Every install takes locked versions with their hashes, for each supported Python and platform."""

from __future__ import annotations

import hashlib
import io
import os
import re
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from importlib.metadata import distributions
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from supply_chain.lock import WHEELS_ONLY
from supply_chain.locked import entries, lock_files

PROJECT = Path(__file__).resolve().parents[2]
LOCKS = {str(path.relative_to(PROJECT)): entries(path) for path in lock_files(PROJECT)}
EXTRAS = (
    {"requirements.txt": [], "locked/local.txt": ["local"], "locked/bench.txt": ["local", "bench"]}
    | {"locked/test.txt": ["local", "bench", "stripe", "traces", "test"]}
    | {"locked/stripe.txt": ["stripe"], "locked/traces.txt": ["traces"]}
)
PLATFORMS = [
    {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64"},
    {"sys_platform": "linux", "platform_system": "Linux", "platform_machine": "aarch64"},
    {"sys_platform": "darwin", "platform_system": "Darwin", "platform_machine": "arm64"},
    {"sys_platform": "win32", "platform_system": "Windows", "platform_machine": "AMD64"},
]
ENVIRONMENTS = [
    {**default_environment(), **platform, "python_version": version, "python_full_version": f"{version}.0", "extra": ""}
    for platform in PLATFORMS
    for version in ("3.11", "3.12", "3.13")
]


def setup() -> ConfigParser:
    parser = ConfigParser()
    parser.read(PROJECT / "setup.cfg")
    return parser


def requirements(text: str) -> list[Requirement]:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return [Requirement(line) for line in lines if not line.startswith(("#", "holdfast["))]


def wanted(lock: str) -> list[Requirement]:
    """What the repository asks of a lock file."""
    if lock == "locked/peers.txt":
        return requirements((PROJECT / "benchmarks" / "requirements.txt").read_text())
    if lock == "locked/tools.txt":
        return requirements((PROJECT / "locked" / "tools.in").read_text())
    content = setup()
    extras = [content["options.extras_require"][name] for name in EXTRAS[lock]]
    project = tomllib.loads((PROJECT / "holdfast_client" / "pyproject.toml").read_text())["project"]
    client = [*project["dependencies"], *project["optional-dependencies"]["cli"]]
    ours = requirements("\n".join([content["options"]["install_requires"], *extras]))
    return ours + ([Requirement(each) for each in client] if "local" in EXTRAS[lock] else [])


def versions(lock: str, environment: dict[str, str]) -> dict[str, str]:
    """The version that a lock file gives to each package there."""
    found = [entry for entry, _ in LOCKS[lock] if entry.marker is None or entry.marker.evaluate(environment)]
    names = [canonicalize_name(entry.name) for entry in found]
    assert len(names) == len(set(names)), "a package has two versions in one environment"
    return {name: next(iter(entry.specifier)).version for name, entry in zip(names, found, strict=True)}


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_one_version_and_its_hashes(lock: str) -> None:
    for entry, hashes in LOCKS[lock]:
        assert re.fullmatch(r"==[\w.!+]+", str(entry.specifier)), entry
        assert hashes, entry
        assert all(re.fullmatch(r"--hash=sha256:[0-9a-f]{64}", each) for each in hashes), entry


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_names_no_host(lock: str) -> None:
    text = (PROJECT / lock).read_text().removeprefix(f"{WHEELS_ONLY}\n")
    assert not re.search(r"//|--(?!hash=)|@|^-", text, re.MULTILINE)


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_takes_wheels_only(lock: str) -> None:
    assert (PROJECT / lock).read_text().startswith(f"{WHEELS_ONLY}\n")


@pytest.fixture
def source_distribution(tmp_path: Path) -> Path:
    """A source distribution that notes in tmp_path/ran that its code ran."""
    content = {"setup.py": f"open({str(tmp_path / 'ran')!r}, 'w').close()\nimport setuptools\nsetuptools.setup()\n"} | {
        "PKG-INFO": "Metadata-Version: 2.1\nName: planted\nVersion: 1.0\n"
    }
    path = tmp_path / "planted-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in content.items():
            member = tarfile.TarInfo(f"planted-1.0/{name}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


def test_code_of_a_source_distribution_never_runs_although_its_hash_is_right(
    source_distribution: Path, tmp_path: Path
) -> None:
    """A platform's buildpack calls pip without our options."""
    options = [line for line in (PROJECT / "requirements.txt").read_text().splitlines() if line.startswith("-")]
    requirement = f"planted==1.0 --hash=sha256:{hashlib.sha256(source_distribution.read_bytes()).hexdigest()}"

    def install(*lines: str) -> int:
        (tmp_path / "requirements.txt").write_text("\n".join(lines))
        words = ["-m", "pip", "install", "--no-deps", "--no-index", "--no-build-isolation", "--no-cache-dir"]
        words += ["--find-links", str(tmp_path), "--target", str(tmp_path / "target"), "--requirement"]
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PIP_")}
        return subprocess.run(
            [sys.executable, *words, str(tmp_path / "requirements.txt")], env=environ, capture_output=True, timeout=120,
            check=False,
        ).returncode  # fmt: skip

    assert install(*options, requirement) != 0
    assert not (tmp_path / "ran").exists()
    install(requirement)
    assert (tmp_path / "ran").exists(), "without the lock's options pip runs the code"


@pytest.mark.parametrize("lock", LOCKS)
def test_lock_satisfies_what_is_asked(lock: str) -> None:
    for environment in ENVIRONMENTS:
        locked = versions(lock, environment)
        for each in wanted(lock):
            if each.marker is None or each.marker.evaluate(environment):
                assert locked.get(canonicalize_name(each.name)) in Found(each), (each, environment)


class Found:
    """The versions that satisfy a requirement. None, for a package that is not locked, is not among them."""

    def __init__(self, requirement: Requirement) -> None:
        self._allowed = requirement.specifier

    def __contains__(self, version: str | None) -> bool:
        return version is not None and self._allowed.contains(version, prereleases=True)

    def __repr__(self) -> str:
        return f"a locked version {self._allowed}"


def test_environments_share_their_versions() -> None:
    for environment in ENVIRONMENTS:
        everything = versions("locked/test.txt", environment)
        for smaller in ("requirements.txt", "locked/local.txt", "locked/bench.txt"):
            assert versions(smaller, environment).items() <= everything.items(), smaller


def installed() -> Iterator[tuple[str, str]]:
    for each in distributions():
        name = canonicalize_name(each.metadata["Name"])
        if name not in {"pip", "holdfast", "holdfast-client"}:
            yield name, each.version


def test_environment_of_this_test_is_the_locked_one() -> None:
    locked = versions("locked/test.txt", {**default_environment(), "extra": ""})
    assert dict(installed()).items() <= locked.items()


def test_build_backend_is_locked() -> None:
    (backend,) = tomllib.loads((PROJECT / "pyproject.toml").read_text())["build-system"]["requires"]
    assert versions("locked/local.txt", ENVIRONMENTS[0])["setuptools"] in Requirement(backend).specifier


def test_make_installs_only_from_lock_files_and_this_repository() -> None:
    targets = [".venv/.installed", ".venv/.installed-test", ".venv/.installed-stripe", ".venv/.installed-bench"]
    targets += [".venv/.installed-tools"]
    made = subprocess.run(
        ["make", "--always-make", "--dry-run", *targets], cwd=PROJECT, capture_output=True, text=True, check=True
    )
    installs = [line for line in made.stdout.splitlines() if "pip install" in line]
    assert len(installs) >= len(targets) + 1
    for line in installs:
        assert "--no-deps" in line
        assert "--require-hashes --only-binary :all: --requirement locked/" in line or "--no-index" in line


def test_no_requirement_could_be_taken_for_our_client() -> None:
    """Nobody has registered the client's name, so anybody could."""
    assert "holdfast-client" not in {canonicalize_name(entry.name) for lock in LOCKS.values() for entry, _ in lock}
    assert "holdfast-client" not in (PROJECT / "setup.cfg").read_text()
