"""Secrets in the files of the repository and in its history, by detect-secrets."""

from __future__ import annotations

import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detect_secrets import SecretsCollection
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.settings import transient_settings

from supply_chain import own_secrets
from supply_chain.findings import run
from supply_chain.reviewed import Reviewed

HASHES = r"^\s*--hash=sha256:[0-9a-f]{64}( \\)?$"
"""Lines of lock files. Everything else in them is scanned."""


def findings(folder: Path, reviewed: Reviewed) -> list[str]:
    """One line for each secret in a file that git tracks or would track."""
    listed = run(["git", "ls-files", "-coz", "--exclude-standard"], folder).stdout.split("\0")
    return _scan(folder, [name for name in listed if name and (folder / name).is_file()], reviewed)


def findings_in_history(folder: Path, reviewed: Reviewed) -> list[str]:
    """One line for each secret in a line that a commit added."""
    with tempfile.TemporaryDirectory() as scratch:
        lines = _added_lines(run(["git", "log", "-p", "-U0", "--no-color", "--no-renames"], folder).stdout)
        for name, added in lines.items():
            (Path(scratch) / name).parent.mkdir(parents=True, exist_ok=True)
            (Path(scratch) / name).write_text("\n".join(added), encoding="utf-8")
        return _scan(Path(scratch), list(lines), reviewed)


def _added_lines(log: str) -> dict[str, dict[str, None]]:
    """The lines that each file ever had, once each and in order."""
    files: dict[str, dict[str, None]] = defaultdict(dict)
    name = ""
    for line in log.split("\n"):
        if line.startswith("+++ "):
            name = line.removeprefix("+++ b/")
        elif line.startswith("+") and name:
            files[name][line[1:]] = None
    return files


def _scan(root: Path, names: list[str], reviewed: Reviewed) -> list[str]:
    own = {sha1 for _, sha1 in reviewed.secrets}  # reviewed.toml names them
    with transient_settings(_configuration()):
        secrets = SecretsCollection(root=str(root))
        secrets.scan_files(*names)
        return [
            f"{name}:{secret.line_number}: {secret.type}, sha1 {secret.secret_hash}"
            for name, secret in _in_order(secrets)
            if (name, secret.secret_hash) not in reviewed.secrets and secret.secret_value not in own
        ]


def _in_order(secrets: SecretsCollection) -> Iterable[tuple[str, Any]]:
    return sorted(secrets, key=lambda found: (found[0], found[1].line_number, found[1].type))


def _configuration() -> dict[str, Any]:
    """All detectors of detect-secrets, and one for the keys that Holdfast makes. None asks a service."""
    plugins = [{"name": each.__name__} for each in get_mapping_from_secret_type_to_class().values()]
    get_mapping_from_secret_type_to_class.cache_clear()  # it is read again, with ours
    ours = {"name": own_secrets.HoldfastKeyDetector.__name__, "path": f"file://{own_secrets.__file__}"}
    filters = [
        {"path": "detect_secrets.filters.regex.should_exclude_line", "pattern": [HASHES]},
        *({"path": f"detect_secrets.filters.heuristic.{name}"} for name in HEURISTICS),
    ]
    return {"plugins_used": [*plugins, ours], "filters_used": filters}


HEURISTICS = (
    "is_sequential_string",
    "is_potential_uuid",
    "is_likely_id_string",
    "is_templated_secret",
    "is_prefixed_with_dollar_sign",
    "is_indirect_reference",
    "is_not_alphanumeric_string",
)
