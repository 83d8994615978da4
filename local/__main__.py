"""`python -m local run`, `… demo`, and the commands of `ops`: `… check`, `… audit`, `… attention`."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

ON_DUTY = ("check", "audit", "attention")


def main() -> int:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # no traceback for a Ctrl-C while Python is still loading
    from local import run  # noqa: PLC0415

    parser = argparse.ArgumentParser(prog="python -m local", description="Holdfast on this machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    start = commands.add_parser("run", help="start everything, until Ctrl-C")
    start.add_argument("--procfile", type=Path, default=run.PROCFILE, help="what to start")
    start.add_argument("--data", type=Path, default=run.DATA, help="where the embedded database keeps its data")
    commands.add_parser("demo", help="show what the running system does")
    for name in ON_DUTY:
        on_duty = commands.add_parser(name, add_help=False, help=f"`python -m ops {name}` on the database of `run`")
        on_duty.add_argument("--data", type=Path, default=run.DATA)
    arguments, others = parser.parse_known_args()
    if arguments.command in ON_DUTY:
        from local import operate  # noqa: PLC0415

        return operate.main([arguments.command, *others], os.environ, arguments.data)
    if others:
        parser.error(f"unrecognized arguments: {' '.join(others)}")
    if arguments.command == "run":
        return run.main(arguments.procfile, arguments.data)
    from local import demo  # noqa: PLC0415  # `run` needs none of it

    signal.signal(signal.SIGINT, signal.default_int_handler)
    return demo.main() or 0


if __name__ == "__main__":  # honcho's processes may import this module again
    sys.exit(main())
