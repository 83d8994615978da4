"""`make mutants`: takes each protection out in turn and shows which test turns red.

Exits 1 when a mutant survives, when the text that it replaces is gone, or when the tests are red without it.
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

from tests.mutants import report
from tests.mutants.mutant import Mutant, load
from tests.mutants.proof import Verdict, check_base, judge
from tests.mutants.tree import PROJECT, Tree

DOCUMENT = PROJECT / "docs" / "mutants.md"


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    mutants = _chosen(options.only)
    if not mutants:
        return _say(f"no mutant is called {options.only}") or 1
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
    _say(f"\n{len(verdicts)} protections taken out, {len(survivors)} not missed, {time.monotonic() - begun:.0f} s")
    if not options.only and not survivors:
        DOCUMENT.write_text(report.document(verdicts), encoding="utf-8")
    return 1 if survivors else 0


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make mutants", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", default="", help="names, separated by commas; * stands for anything")
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (2)")
    parser.add_argument("--show", action="store_true", help="what the red tests said")
    return parser.parse_args(arguments)


def _chosen(only: str) -> list[Mutant]:
    patterns = only.split(",") if only else ["*"]
    return [mutant for mutant in load() if any(fnmatch(mutant.name, pattern) for pattern in patterns)]


def _not_green(base: Tree, mutants: list[Mutant], jobs: int) -> str:
    """What is red without any mutant. A second run of the same tests would be red for that reason, too."""
    nodes = sorted({node for mutant in mutants for node in mutant.missed_by})
    _say(f"{len(mutants)} mutants; first their {len(nodes)} tests on the code as it is")
    shares = [tuple(nodes[number::jobs]) for number in range(min(jobs, len(nodes)))]
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
        except BaseException:  # Ctrl-C: what is at work has been told as well, the rest is not begun
            pool.shutdown(cancel_futures=True)
            raise


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
