"""Secrets in the files of the repository and in its history, by detect-secrets."""

from __future__ import annotations

import re
import tempfile
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from detect_secrets import SecretsCollection
from detect_secrets.core.plugins.util import get_mapping_from_secret_type_to_class
from detect_secrets.settings import transient_settings

from supply_chain import git, own_secrets
from supply_chain.reviewed import Reviewed

HASHES = r"^\s*--hash=sha256:[0-9a-f]{64}( \\)?$"
"""Lines of lock files. Everything else in them is scanned."""
HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+\d+(?:,(\d+))? @@")


def findings(folder: Path, reviewed: Reviewed) -> list[str]:
    """One line for each secret in a file that git tracks or would track.

    :raises CannotCheck: if git cannot list the files
    """
    return _scan(folder, {name: name for name in git.files(folder)}, reviewed)


def findings_in_history(folder: Path, reviewed: Reviewed) -> list[str]:
    """One line for each secret in a line that a commit added, also in a merge and on any branch.

    :raises CannotCheck: if git does not have the whole history
    """
    with tempfile.TemporaryDirectory() as scratch:
        names = {}
        for number, (name, lines) in enumerate(added_lines(git.history(folder)).items()):
            # In a folder of its own: a name can be that of a folder on another branch. Detectors look at the suffix.
            path = Path(scratch) / str(number) / Path(name).name
            path.parent.mkdir()
            path.write_text("\n".join(lines), encoding="utf-8")
            names[f"{number}/{path.name}"] = name
        return _scan(Path(scratch), names, reviewed)


def added_lines(log: str) -> dict[str, dict[str, None]]:
    """The lines that each file ever had, once each and in order.

    A hunk says how many lines follow it, so that a line of a file is never read as the head of another file.
    """
    files: dict[str, dict[str, None]] = defaultdict(dict)
    name, removed, added = "", 0, 0
    for line in log.split("\n"):
        if removed or added:
            if line.startswith("+"):
                files[name][line[1:]] = None
                added -= 1
            elif line.startswith("-"):
                removed -= 1
        elif line.startswith("+++ "):
            name = line.removeprefix("+++ ").strip('"\t').removeprefix("b/")
        elif hunk := HUNK.match(line):
            removed, added = (int(count or 1) for count in hunk.groups())
    return files


def _scan(root: Path, names: dict[str, str], reviewed: Reviewed) -> list[str]:
    """Scan the files of a folder.

    :param names: where a file is in the folder → its name in the repository
    """
    own = {sha1 for _, sha1 in reviewed.secrets}  # reviewed.toml names them
    with transient_settings(_configuration()):
        secrets = SecretsCollection(root=str(root))
        secrets.scan_files(*names)
        found = ((names[path], secret) for path, secret in secrets)
        return [
            f"{name}:{secret.line_number}: {secret.type}, sha1 {secret.secret_hash}"
            for name, secret in _in_order(found)
            if (name, secret.secret_hash) not in reviewed.secrets and secret.secret_value not in own
        ]


def _in_order(secrets: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
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
