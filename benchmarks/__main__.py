"""`make bench`: how fast Holdfast is on this machine, compared with its peers. See README.md.

`python -m benchmarks [--short] [--only engine,waiting] [--without-peers] [--rounds 5] [--out FOLDER] [--base FOLDER]
[--setting NAME=VALUE]`
"""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import NoReturn

from benchmarks import (
    charts,
    compare,
    contention,
    deliveries,
    engine,
    events,
    growth,
    latency,
    lists,
    machine,
    overload,
    pages,
    retention,
    system,
    waiting,
    watching,
)
from benchmarks.bench import SERVER_SETTINGS, Bench
from benchmarks.programs import NotInstalled
from benchmarks.report import Report
from benchmarks.result import Part
from local.binaries import PostgresError
from local.postgres import EmbeddedPostgres

OUT = Path("var") / "bench"
PEERS = Path("var") / "bench" / "venv"
PARTS: Mapping[str, Callable[[Bench], Part]] = {
    "engine": engine.run,
    "system": system.run,
    "latency": latency.run,
    "waiting": waiting.run,
    "growth": growth.run,
    "contention": contention.run,
    "overload": overload.run,
    "retention": retention.run,
    "lists": lists.run,
    "events": events.run,
    "deliveries": deliveries.run,
    "watching": watching.run,
    "pages": pages.run,
}
MEASURED, NOT_MEASURED = 0, 1
INTERRUPTED, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """0: everything was measured; 1: a part failed; 2: invalid arguments; 130: Ctrl-C."""
    given = _parser().parse_args(arguments)
    signal.signal(
        signal.SIGTERM, lambda *_: sys.exit(TERMINATED)
    )  # runs the context managers, which stop what was started
    given.out.mkdir(parents=True, exist_ok=True)
    scratch = given.out / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)  # left by a killed run
    scratch.mkdir()
    try:
        with EmbeddedPostgres(scratch / "postgres", settings=SERVER_SETTINGS | dict(given.setting)) as server:
            bench = Bench(1 if given.short else given.rounds, given.short, scratch, given.peers, server)
            report = _measure(bench, _parts(given))
    except (PostgresError, NotInstalled) as error:
        sys.stderr.write(f"{error}\n")
        return NOT_MEASURED
    except KeyboardInterrupt:
        return INTERRUPTED
    _write(report, given.out)
    if report.failures:
        return NOT_MEASURED  # keeps the logs
    shutil.rmtree(scratch)
    return MEASURED


def _parts(given: argparse.Namespace) -> Mapping[str, Callable[[Bench], Part]]:
    """The parts to measure, by key; with `--base`, the parts of a comparison with another checkout."""
    if not given.base:
        return {key: PARTS[key] for key in given.only or PARTS}
    keys = given.only or compare.KEYS
    return {key: partial(compare.run, PARTS[key], base=given.base.resolve()) for key in keys}


def _measure(bench: Bench, parts_of: Mapping[str, Callable[[Bench], Part]]) -> Report:
    began, before = time.strftime("%Y-%m-%d %H:%M"), machine.costs(bench)
    parts, failures = [], {}
    for key, run in parts_of.items():
        bench.say(f"{key}: begins")
        try:
            parts.append(run(bench))
        except Exception as error:  # one failure must not cost the hour of the other parts
            (bench.folder / f"{key}.traceback").write_text(traceback.format_exc())
            bench.say(f"{key}: {error}")
            failures[key] = f"{type(error).__name__}: {error}"
    after = machine.costs(bench)
    costs = {name: [before[name], after[name]] for name in before}
    return Report(began, bench.rounds, bench.short, machine.describe(bench), costs, parts, failures)


def _write(report: Report, folder: Path) -> None:
    for old in folder.glob("*.svg"):
        old.unlink()
    (folder / "results.json").write_text(report.to_json())
    (folder / "results.md").write_text(report.to_markdown())
    files = [file for part in report.parts for file in charts.draw(part, folder)]
    print(report.to_markdown())
    print("\n".join(f"{file}" for file in (folder / "results.json", folder / "results.md", *files)))


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")  # one line, without the usage


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="python -m benchmarks", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="only check that everything works, in one short round")
    parser.add_argument("--only", type=_keys, default=[], help=f"of {','.join(PARTS)}, separated by commas")
    parser.add_argument(
        "--without-peers", dest="peers", action="store_const", const=None, default=PEERS, help="leave the peers out"
    )
    parser.add_argument("--rounds", type=_rounds, default=5, help="number of rounds (default: 5)")
    parser.add_argument("--out", type=Path, default=OUT, help=f"folder for the results (default: {OUT})")
    parser.add_argument(
        "--setting", type=_setting, action="append", default=[], help="of PostgreSQL, such as shared_buffers=2GB"
    )
    parser.add_argument(
        "--base", type=_checkout, help="compare with the code of this checkout, in turn, round by round"
    )
    return parser


def _keys(text: str) -> list[str]:
    keys = [key for key in text.split(",") if key]
    if unknown := [key for key in keys if key not in PARTS]:
        raise argparse.ArgumentTypeError(f"unknown part {unknown[0]!r}; the parts are {', '.join(PARTS)}")
    return keys


def _setting(text: str) -> tuple[str, str]:
    name, is_one, value = text.partition("=")
    if not (is_one and name.isidentifier()):
        raise argparse.ArgumentTypeError(f"{text!r} is not a setting, such as shared_buffers=2GB")
    return name, value


def _checkout(text: str) -> Path:
    if not (Path(text) / "Procfile").exists():
        raise argparse.ArgumentTypeError(f"{text} is not a checkout: it has no Procfile")
    return Path(text)


def _rounds(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 100:
        raise argparse.ArgumentTypeError("a whole number from 1 to 100")
    return int(text)


if __name__ == "__main__":
    sys.exit(main())
