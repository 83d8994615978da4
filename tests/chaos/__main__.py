"""`make chaos`: send orders through the real system during disturbances. See docs/chaos.md.

`python -m tests.chaos` runs it; `python -m tests.chaos check FOLDER` compares what its clients were told with
its database.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from common.process.settings import SettingError
from local.binaries import PostgresError
from local.postgres import EmbeddedPostgres
from local.terminal import StopRequest, foreground
from tests import credentials
from tests.chaos import report
from tests.chaos.judging import judge, read_evidence
from tests.chaos.options import Options, pace
from tests.chaos.run import Interrupted, Run

RIGHT, WRONG, BAD_SETTING, INTERRUPTED = 0, 1, 2, 128 + signal.SIGINT
FOLDER = Path("var") / "chaos"


def main(arguments: Sequence[str] | None = None) -> int:
    """0: every promise was kept; 1: one was not; 2: invalid options; 130: Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description="Orders in a storm.")
    commands = parser.add_subparsers(dest="command")
    check = commands.add_parser(
        "check", help="compare the logs of a run's clients, receiver and operators with its database again"
    )
    check.add_argument("folder", type=Path, help="of the run")
    check.add_argument("--database", help="its address, if it is not that of the run")
    given = parser.parse_args(arguments)
    credentials.use_in_this_process()
    try:
        return _check(given.folder, given.database) if given.command else _run()
    except (SettingError, PostgresError) as error:
        sys.stderr.write(f"{error}\n")
        return BAD_SETTING


def _run() -> int:
    options, paces = Options.load(os.environ), pace(os.environ)
    folder = FOLDER / f"{options.seed}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder.mkdir(parents=True)
    stop, console = StopRequest(), report.new_console()
    stop.listen()
    console.print(f"Holdfast in a storm: {report.command(options, os.environ)}\nlogs: {folder}", soft_wrap=True)
    try:
        with foreground():
            figures = Run(options, paces, folder, stop).run()
    except Interrupted:
        console.print(f"interrupted; logs: {folder}")
        return INTERRUPTED
    if figures.is_right:
        shutil.rmtree(folder / "postgres")  # it is large and not needed any more
    report.show(figures, options, os.environ, folder)
    return RIGHT if figures.is_right else WRONG


def _check(folder: Path, database: str | None) -> int:
    with ExitStack() as parts:
        url = database or parts.enter_context(EmbeddedPostgres(folder / "postgres")).url
        findings = judge(read_evidence(folder, url))
    report.show_findings(findings, report.new_console())
    return WRONG if findings else RIGHT


if __name__ == "__main__":
    sys.exit(main())
