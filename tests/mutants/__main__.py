"""`make mutants`: remove each protection in turn and show which test fails.

Exits 1 if a mutant survives, if its edit does not apply, or if a test fails without any mutant.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from fnmatch import fnmatch
from pathlib import Path

from tests.mutants import report, upkeep
from tests.mutants.mutant import Mutant, load
from tests.mutants.proof import Verdict, check_base, judge
from tests.mutants.tree import PROJECT, Tree

DOCUMENT = PROJECT / "docs" / "mutants.md"


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    mutants = _chosen(options.only)
    if not mutants:
        return _say(f"no mutant is called {options.only}") or 1
    if options.command == "naming":
        return _say(upkeep.naming(mutants, options.argument)) or 0
    if options.command == "rename":
        return _say(upkeep.rename(Path(options.argument))) or 0
    if wrong := upkeep.broken(mutants, PROJECT):
        return _say(f"{wrong}\n\n{upkeep.ADVICE}") or 1
    return 0 if options.command == "broken" else _run(mutants, options)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="make mutants",
        description=(__doc__ or "").partition("\n")[0],
        epilog="broken: list the mutants that do not fit the code. naming TEST: list the mutants that name a test. "
        "rename FILE: apply renames of tests and code, one `old new` a line.",
    )
    parser.add_argument("command", nargs="?", default="run", choices=["run", "broken", "naming", "rename"])
    parser.add_argument("argument", nargs="?", default="", help="a test or a file, see below")
    parser.add_argument("--only", default="", help="names, separated by commas; * matches anything")
    parser.add_argument("--jobs", type=int, default=2, help="how many run at a time (2)")
    parser.add_argument("--show", action="store_true", help="print the output of the failed tests")
    return parser.parse_args(arguments)


def _chosen(only: str) -> list[Mutant]:
    patterns = only.split(",") if only else ["*"]
    return [mutant for mutant in load() if any(fnmatch(mutant.name, pattern) for pattern in patterns)]


def _run(mutants: list[Mutant], options: argparse.Namespace) -> int:
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="holdfast-mutants-") as folder:
        base = Tree.of_project(Path(folder).resolve() / "base")
        if wrong := check_base(base) or _not_green(base, mutants, options.jobs):
            return _say(wrong) or 1
        verdicts = list(_judged(mutants, base, options))
    verdicts.sort(key=lambda verdict: mutants.index(verdict.mutant))
    survivors = [verdict for verdict in verdicts if verdict.test is None]
    _say("\n" + report.table(verdicts))
    for survivor in survivors:
        _say(f"\n{survivor.mutant.name}: {survivor.why}")
    _say(f"\n{len(verdicts)} protections removed, {len(survivors)} survived, {time.monotonic() - begun:.0f} s")
    if not options.only and not survivors:
        DOCUMENT.write_text(report.document(verdicts), encoding="utf-8")
    return 1 if survivors else 0


def _not_green(base: Tree, mutants: list[Mutant], jobs: int) -> str:
    """The tests that fail without any mutant. They would fail with one for the same reason."""
    nodes = sorted({node for mutant in mutants for node in mutant.nodes(PROJECT)})
    _say(f"{len(mutants)} mutants; first their {len(nodes)} tests on the unchanged code")
    shares = [nodes[number::jobs] for number in range(min(jobs, len(nodes)))]
    trees = [base] + [base.copy(base.root.with_name(f"base{number}")) for number in range(1, len(shares))]
    with ThreadPoolExecutor(jobs) as pool:
        runs = list(pool.map(lambda tree, share: tree.pytest(share), trees, shares))
    return "\n".join(f"not green without a mutant:\n{run.output}" for run in runs if run.returncode)


def _judged(mutants: list[Mutant], base: Tree, options: argparse.Namespace) -> Iterator[Verdict]:
    with ThreadPoolExecutor(options.jobs) as pool:
        futures = [pool.submit(judge, mutant, base, base.root.with_name(mutant.name)) for mutant in mutants]
        try:
            for number, future in enumerate(as_completed(futures), start=1):
                verdict = future.result()
                _say(f"{number:4}/{len(mutants)}  {report.line(verdict)}")
                if options.show:
                    _say(verdict.why)
                yield verdict
        except BaseException:  # Ctrl-C reaches the running tests as well; the others must not start
            pool.shutdown(cancel_futures=True)
            raise


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
