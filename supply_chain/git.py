"""What git knows about the folder. A question that git cannot answer is a failure, never an empty answer."""

from __future__ import annotations

import subprocess
from pathlib import Path

from supply_chain.findings import TIMEOUT_S, CannotCheck


def files(folder: Path) -> list[str]:
    """The names of the files that git tracks or would track.

    :raises CannotCheck: if there is none, or git refuses
    """
    top = _ask(folder, "rev-parse", "--show-toplevel").removesuffix("\n")
    if Path(top).resolve() != folder.resolve():
        raise CannotCheck(f"{folder} is not a git repository of its own, but a part of {top}")
    listed = _ask(folder, "ls-files", "-coz", "--exclude-standard").split("\0")
    names = [name for name in listed if name and (folder / name).is_file()]
    if not names:
        raise CannotCheck(f"git lists no file in {folder}")
    return names


def history(folder: Path) -> str:
    """What each commit of each branch and tag changed, against each of its parents, as `git log` prints it.

    Against each parent, because a merge can contain lines that neither side has.

    :raises CannotCheck: if there is no commit, a part of the history is missing, or git refuses
    """
    files(folder)
    if _ask(folder, "rev-parse", "--is-shallow-repository").strip() != "false":
        raise CannotCheck(f"{folder} is a shallow clone without its history. Run `git fetch --unshallow`")
    # Everything that the configuration of a user or a .gitattributes could hide or change is named here.
    form = ["--format=", "-U0", "--no-color", "--no-renames", "--no-ext-diff", "--no-textconv", "--text"]
    form += ["--src-prefix=a/", "--dst-prefix=b/", "--submodule=short", "--ignore-submodules=none"]
    log = _ask(folder, "-c", "log.showRoot=true", "log", "--all", "-m", "-p", *form)
    if not log:
        raise CannotCheck(f"git knows no commit of {folder}")
    return log


def _ask(folder: Path, *words: str) -> str:
    """What git answers.

    A container runs as root in a folder of another user, which git refuses unless it is told that the folder is safe.
    Some versions before 2.38 read that from files only.

    :raises CannotCheck: if git reports an error or cannot be started
    """
    command = ["git", "--no-replace-objects", "-c", f"safe.directory={folder.resolve()}", "-c", "core.quotePath=false"]
    try:
        answer = subprocess.run([*command, *words], cwd=folder, capture_output=True, timeout=TIMEOUT_S, check=False)
    except OSError as error:
        raise CannotCheck(f"git cannot be started: {error}") from error
    if answer.returncode:
        message = answer.stderr.decode(errors="replace").strip()
        raise CannotCheck(f"git could not read {folder}: {message or f'exit code {answer.returncode}'}")
    return answer.stdout.decode(errors="replace")
