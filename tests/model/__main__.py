"""`make model`: explore every state of the protocol, up to the bounds of each scenario.

Exits 1 if a rule does not hold, with the shortest story that shows it.
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.model.planted import PLANTED
from tests.model.scenarios import SCENARIOS, check, first_violation
from tests.model.story import tell


def main(arguments: list[str]) -> int:
    options = _options(arguments)
    return _show_planted(options.planted) if options.planted else _check_today(options.faults, options.more)


def _options(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make model", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--faults", type=int, help="how many faults each scenario may have, instead of its own bound")
    parser.add_argument("--more", type=int, default=0, help="how many faults each may have beyond its own bound")
    parser.add_argument("--planted", choices=[*PLANTED, "all"], metavar="NAME", help="show how this error is found")
    return parser.parse_args(arguments)


def _check_today(faults: int | None, more: int) -> int:
    begun, states, violations = time.process_time(), 0, 0
    for name, scenario in SCENARIOS.items():
        bounded = scenario._replace(faults=scenario.faults + more if faults is None else faults)
        seen = check(bounded)
        states += len(seen.states)
        _say(f"{name}: {len(seen.states):,} states, {seen.steps:,} steps, at most {bounded.faults} faults")
        if seen.violation:
            violations += 1
            _say(tell(seen.violation))
    verdict = f"{violations} violations" if violations else "every rule holds in each"
    _say(f"{states:,} states in {time.process_time() - begun:.0f} s of one core: {verdict}")
    return 1 if violations else 0


def _show_planted(name: str) -> int:
    missed = 0
    for each in PLANTED if name == "all" else [name]:
        planted = PLANTED[each]
        violation = first_violation(SCENARIOS[planted.scenario], planted.design)
        missed += violation is None
        _say(f"{each}: {planted.error}\n{tell(violation) if violation else '  not found'}\n")
    return 1 if missed else 0


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
