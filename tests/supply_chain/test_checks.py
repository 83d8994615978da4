"""`make security` fails on a finding: each check gets a planted one, and nothing else, in a folder of its own."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import secrets
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from supply_chain.lock import WHEELS_ONLY
from tests.supply_chain.test_locks import PROJECT

TOOLS = PROJECT / ".venv" / "tools" / "bin" / "python"
UNREACHABLE = "http://127.0.0.1:1/"
LOCKED = f"{WHEELS_ONLY}\n" + "jinja2=={version} \\\n    --hash=sha256:{hash}\n"
VULNERABLE, SOUND = LOCKED.format(version="2.10", hash="0" * 64), LOCKED.format(version="3.1.6", hash="0" * 64)
ADVISORY = "PYSEC-2019-217"
# As the vulnerability service answers for jinja2 2.10, shortened.
ANSWER = {"vulns": [{"id": ADVISORY, "summary": "escape from the sandbox", "affected": []}]}


@pytest.fixture(autouse=True)
def tools() -> None:
    if not TOOLS.exists():
        leave = pytest.fail if os.environ.get("CI") else pytest.skip
        leave("the programs of `make security` are not installed: run it once")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of a repository with one sound file of each kind."""
    (tmp_path / "requirements.txt").write_text(SOUND)
    (tmp_path / "program.py").write_text("print('no secrets here')\n")
    git(tmp_path, "init", "--quiet")
    commit(tmp_path)
    return tmp_path


def git(folder: Path, *words: str) -> None:
    someone = ["-c", "user.name=someone", "-c", "user.email=someone@shop.example"]
    subprocess.run(["git", *someone, *words], cwd=folder, check=True, capture_output=True)


def commit(folder: Path) -> None:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "a change")


def made_up() -> str:
    """A secret. detect-secrets takes a value for one only if it begins with a letter or digit."""
    return f"k{secrets.token_urlsafe(24)}"


def check(folder: Path, name: str, *words: str, service: str = UNREACHABLE) -> subprocess.CompletedProcess[str]:
    command = [str(TOOLS), "-m", "supply_chain", "--only", name, "--folder", str(folder), *words]
    environ = {**os.environ, "OSV_URL": service}
    return subprocess.run(
        command, cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=120, check=False
    )  # fmt: skip


class Service(BaseHTTPRequestHandler):
    """The vulnerability service: it knows one vulnerable version of a package, and one of a script."""

    def do_POST(self) -> None:
        query = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        package = (query["package"]["ecosystem"], query["package"]["name"], query["version"])
        known = {("PyPI", "jinja2", "2.10"), ("npm", "rapidoc", "1.0.0")}
        body = json.dumps(ANSWER if package in known else {}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def service() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Service) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_vulnerable_version_fails(folder: Path, service: str) -> None:
    assert check(folder, "advisories", service=service).returncode == 0
    (folder / "requirements.txt").write_text(VULNERABLE)
    run = check(folder, "advisories", service=service)
    assert run.returncode == 1
    assert ADVISORY in run.stderr


def test_reviewed_advisory_passes_with_a_reason_only(folder: Path, service: str) -> None:
    (folder / "requirements.txt").write_text(VULNERABLE)
    reviewed = folder / "supply_chain" / "reviewed.toml"
    reviewed.parent.mkdir()
    reviewed.write_text(f'[[advisory]]\nid = "{ADVISORY}"\n')
    run = check(folder, "advisories", service=service)
    assert run.returncode == 1
    assert "needs a reason" in run.stderr
    reviewed.write_text(f'[[advisory]]\nid = "{ADVISORY}"\nreason = "no sandbox is used"\n')
    assert check(folder, "advisories", service=service).returncode == 0


def test_unreachable_service_is_the_last_line_and_fails_a_strict_run(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = check(folder, "advisories", "--only", "sbom")
    assert run.returncode == 0
    assert run.stderr.splitlines()[-1].startswith("NOT CHECKED: advisories.")
    assert "advisories: nothing found" not in run.stdout
    assert check(folder, "advisories", "--strict").returncode == 1
    monkeypatch.setenv("SECURITY_STRICT", "true")
    assert check(folder, "advisories").returncode == 1
    monkeypatch.setenv("SECURITY_STRICT", "false")
    assert check(folder, "advisories").returncode == 0
    monkeypatch.setenv("SECURITY_STRICT", "yes")
    run = check(folder, "advisories")
    assert run.returncode == 1
    assert "SECURITY_STRICT must be true or false" in run.stderr


@pytest.mark.parametrize("name", ["advisories", "withdrawn"])
def test_folder_without_a_lock_file_fails(folder: Path, service: str, name: str) -> None:
    (folder / "requirements.txt").unlink()
    run = check(folder, name, service=service)
    assert run.returncode == 1
    assert "has no lock file" in run.stderr


def test_withdrawn_release_fails(folder: Path) -> None:
    run = check(folder, "withdrawn", "--strict")
    if "NOT CHECKED" in run.stderr and not os.environ.get("CI"):
        pytest.skip("the package registry cannot be reached")
    (folder / "requirements.txt").write_text("requests==2.32.0\n")  # withdrawn by its authors for a vulnerability
    run = check(folder, "withdrawn", "--strict")
    assert run.returncode == 1
    assert "requests==2.32.0" in run.stderr


def test_unsafe_code_fails(folder: Path) -> None:
    assert check(folder, "code").returncode == 0
    (folder / "program.py").write_text("import sys\n\neval(sys.argv[1])\n")
    run = check(folder, "code")
    assert run.returncode == 1
    assert "S307" in run.stderr


def test_statement_with_a_value_in_it_fails(folder: Path) -> None:
    statement = "def find(email):\n    return f\"SELECT id FROM order_ledger WHERE email = '{email}'\"\n"
    (folder / "program.py").write_text(statement)
    run = check(folder, "code")
    assert run.returncode == 1
    assert "S608" in run.stderr


@pytest.mark.parametrize("form", ['api_key = "{}"', 'KEY = "hf_4fj2k9_{}"', 'URL = "postgresql://shop:{}@db/shop"'])
def test_secret_in_a_file_fails(folder: Path, form: str) -> None:
    assert check(folder, "secrets").returncode == 0
    (folder / "program.py").write_text(form.format(made_up()) + "\n")
    run = check(folder, "secrets")
    assert run.returncode == 1
    assert "program.py:1" in run.stderr


def test_secret_in_a_lock_file_fails(folder: Path) -> None:
    (folder / "requirements.txt").write_text(f"--index-url https://shop:{secrets.token_hex(16)}@registry.example/\n")
    assert check(folder, "secrets").returncode == 1


def test_reviewed_secret_passes(folder: Path) -> None:
    (folder / "program.py").write_text(f'api_key = "{made_up()}"\n')
    found = re.search(r"sha1 (\w{40})", check(folder, "secrets").stderr)
    assert found
    (folder / "supply_chain").mkdir()
    entry = f'[[secret]]\nfile = "program.py"\nreason = "made up"\nsha1 = ["{found[1]}"]\n'
    (folder / "supply_chain" / "reviewed.toml").write_text(entry)
    assert check(folder, "secrets").returncode == 0


def test_removed_secret_is_found_in_the_history(folder: Path) -> None:
    sound = (folder / "program.py").read_text()
    (folder / "program.py").write_text(f'api_key = "{made_up()}"\n')
    commit(folder)
    (folder / "program.py").write_text(sound)
    commit(folder)
    assert check(folder, "secrets").returncode == 0
    assert check(folder, "history").returncode == 1


def merge(folder: Path, text: str) -> None:
    """Merge a branch into the current one, with a line in the merge that is on neither side."""
    git(folder, "switch", "--quiet", "--create", "side")
    (folder / "side.py").write_text("SIDE = 1\n")
    commit(folder)
    git(folder, "switch", "--quiet", "-")
    git(folder, "merge", "--quiet", "--no-ff", "--no-commit", "side")
    (folder / "program.py").write_text(text)
    commit(folder)


def test_secret_that_only_a_merge_contained_is_found_in_the_history(folder: Path) -> None:
    sound = (folder / "program.py").read_text()
    merge(folder, f'api_key = "{made_up()}"\n')
    (folder / "program.py").write_text(sound)
    commit(folder)
    assert check(folder, "secrets").returncode == 0
    run = check(folder, "history")
    assert run.returncode == 1
    assert "program.py:" in run.stderr


def test_secret_on_a_branch_that_is_not_merged_is_found_in_the_history(folder: Path) -> None:
    git(folder, "switch", "--quiet", "--create", "side")
    (folder / "program.py").unlink()
    (folder / "program.py").mkdir()  # here a folder, on the other branch a file
    (folder / "program.py" / "key.py").write_text(f'api_key = "{made_up()}"\n')
    commit(folder)
    git(folder, "switch", "--quiet", "-")
    assert check(folder, "secrets").returncode == 0
    run = check(folder, "history")
    assert run.returncode == 1
    assert "program.py/key.py:1" in run.stderr


def test_attribute_or_setting_hides_no_secret_in_the_history(folder: Path) -> None:
    sound = (folder / "program.py").read_text()
    (folder / ".gitattributes").write_text("*.py -diff\n")
    (folder / "program.py").write_text(f'++ b/readme\napi_key = "{made_up()}"\n')
    commit(folder)
    (folder / "program.py").write_text(sound)
    commit(folder)
    git(folder, "config", "diff.noprefix", "true")
    run = check(folder, "history")
    assert run.returncode == 1
    assert "history: program.py:" in run.stderr


SCANS = pytest.mark.parametrize("scan", ["secrets", "history"])


@SCANS
def test_scan_of_a_folder_that_git_does_not_know_fails(tmp_path: Path, scan: str) -> None:
    (tmp_path / "program.py").write_text("print('no secrets here')\n")
    run = check(tmp_path, scan)
    assert run.returncode == 1
    assert "not a git repository" in run.stderr
    assert "nothing found" not in run.stdout


@SCANS
def test_scan_of_a_part_of_another_repository_fails(folder: Path, scan: str) -> None:
    part = folder / "unpacked"
    part.mkdir()
    (part / "program.py").write_text("print('no secrets here')\n")
    run = check(part, scan)
    assert run.returncode == 1
    assert f"a part of {folder}" in run.stderr


@SCANS
def test_scan_without_a_file_fails(tmp_path: Path, scan: str) -> None:
    git(tmp_path, "init", "--quiet")
    run = check(tmp_path, scan)
    assert run.returncode == 1
    assert "git lists no file" in run.stderr


def test_scan_of_a_history_without_a_commit_fails(tmp_path: Path) -> None:
    git(tmp_path, "init", "--quiet")
    (tmp_path / "program.py").write_text("print('no secrets here')\n")
    assert check(tmp_path, "secrets").returncode == 0
    run = check(tmp_path, "history")
    assert run.returncode == 1
    assert "git knows no commit" in run.stderr


def test_scan_of_a_shallow_clone_fails(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    (folder / "program.py").write_text("print('nor here')\n")
    commit(folder)
    clone = tmp_path_factory.mktemp("clone")
    git(clone, "clone", "--quiet", "--depth", "1", folder.as_uri(), ".")
    assert check(clone, "secrets").returncode == 0
    run = check(clone, "history")
    assert run.returncode == 1
    assert "git fetch --unshallow" in run.stderr


@SCANS
def test_folder_of_another_user_is_scanned(folder: Path, scan: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a container, which runs as root. git has this variable for its own tests."""
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    assert b"dubious ownership" in subprocess.run(
        ["git", "status"], cwd=folder, capture_output=True, check=False
    ).stderr  # fmt: skip
    run = check(folder, scan)
    assert run.returncode == 0, run.stderr
    assert "nothing found" in run.stdout


def test_bill_of_materials_names_every_package_with_its_hashes(folder: Path) -> None:
    assert check(folder, "sbom").returncode == 0
    (part,) = json.loads((folder / "build" / "sbom.cdx.json").read_text())["components"]
    assert (part["name"], part["version"]) == ("jinja2", "3.1.6")
    assert part["externalReferences"][0]["hashes"] == [{"alg": "SHA-256", "content": "0" * 64}]


VENDORED = """[[component]]
name = "rapidoc"
version = "{version}"
ecosystem = "npm"
licence = "MIT"
file = "script.js.gz"
sha256 = "{sha256}"
"""


def vendor(folder: Path, version: str) -> str:
    """Put a compressed script into the folder. :returns: its hash before it was compressed"""
    sha256 = hashlib.sha256(b"let a = 1").hexdigest()
    (folder / "script.js.gz").write_bytes(gzip.compress(b"let a = 1"))
    (folder / "supply_chain").mkdir()
    (folder / "supply_chain" / "vendored.toml").write_text(VENDORED.format(version=version, sha256=sha256))
    return sha256


def test_bill_of_materials_names_vendored_files(folder: Path) -> None:
    sha256 = vendor(folder, "9.3.8")
    assert check(folder, "sbom").returncode == 0
    _, part = json.loads((folder / "build" / "sbom.cdx.json").read_text())["components"]
    assert part["purl"] == "pkg:npm/rapidoc@9.3.8"
    assert part["licenses"] == [{"license": {"id": "MIT"}}]
    assert part["hashes"] == [{"alg": "SHA-256", "content": sha256}]


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"let a = 2"), b"let a = 1", gzip.compress(b"let a = 1")[:-9], None],
    ids=["another file", "not compressed", "cut off", "no file"],
)
def test_changed_vendored_file_fails(folder: Path, content: bytes | None) -> None:
    vendor(folder, "9.3.8")
    (folder / "script.js.gz").unlink()
    if content is not None:
        (folder / "script.js.gz").write_bytes(content)
    run = check(folder, "sbom")
    assert run.returncode == 1
    assert "script.js.gz is not the file of rapidoc 9.3.8" in run.stderr


def test_vulnerable_vendored_file_fails(folder: Path, service: str) -> None:
    vendor(folder, "1.0.0")
    run = check(folder, "advisories", service=service)
    assert run.returncode == 1
    assert f"script.js.gz: rapidoc 1.0.0 {ADVISORY}" in run.stderr
    (folder / "supply_chain" / "reviewed.toml").write_text(f'[[advisory]]\nid = "{ADVISORY}"\nreason = "not used"\n')
    assert check(folder, "advisories", service=service).returncode == 0


def test_unlocked_package_has_no_bill_of_materials(folder: Path) -> None:
    (folder / "requirements.txt").write_text("jinja2\n")
    assert check(folder, "sbom").returncode == 1
