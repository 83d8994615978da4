"""`python -m local run`, `demo`, `reset`, and commands of `ops`: `check`, `audit`, `attention`, `reconcile`, `keys`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

OPERATIONS = ("check", "audit", "attention", "reconcile", "keys")


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback for Ctrl-C while Python is still loading
    from local import run  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="python -m local", description="Holdfast on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("run", help="start everything, until Ctrl-C")
    start.add_argument("--procfile", type=Path, default=run.PROCFILE, help="what to start")
    commands.add_parser("demo", help="show what the running system does")
    reset = commands.add_parser("reset", help="delete everything in the embedded database")
    reset.add_argument("--yes", action="store_true", help="do not ask")
    operations = [
        commands.add_parser(name, add_help=False, help=f"run `python -m ops {name}` on the database of `run`")
        for name in OPERATIONS
    ]
    for each in (start, reset, *operations):
        each.add_argument("--data", type=Path, default=run.DATA, help="the folder of the embedded database")
    arguments, others = parser.parse_known_args()
    if arguments.command in OPERATIONS:
        from local import operate  # noqa: PLC0415

        return operate.main([arguments.command, *others], os.environ, arguments.data)
    if others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    if arguments.command == "run":
        return run.main(arguments.procfile, arguments.data)
    if arguments.command == "reset":
        from local import reset as deletion  # noqa: PLC0415

        return deletion.main(os.environ, arguments.data, is_sure=arguments.yes)
    from local import demo  # noqa: PLC0415  # the other commands need none of it

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return demo.main() or 0


if __name__ == "__main__":  # honcho's processes may import this module again
    sys.exit(main())
