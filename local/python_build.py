"""Checks the Python that `make install` is about to use. It runs on any Python 3, before anything is installed."""

import os
import subprocess
import sys
import sysconfig

SYSTEM_PYTHON = "/usr/bin/python3"


def is_optimised() -> bool:
    """Whether this Python was built with profile-guided optimisation.

    Debian optimises without the option, so a Python of the operating system is taken to be optimised.
    """
    arguments = sysconfig.get_config_var("CONFIG_ARGS")
    return sys.base_prefix == "/usr" or arguments is None or "--enable-optimizations" in arguments


def is_usable(python: str) -> bool:
    """Whether that Python is new enough and can make virtual environments."""
    script = "import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))"
    return os.path.exists(python) and subprocess.call([python, "-c", script], stderr=subprocess.DEVNULL) == 0


def main(name: str) -> int:
    """Refuse a Python that is too old, and say so when it is a slow build."""
    if sys.version_info < (3, 11):  # noqa: UP036  # this check must work on older versions
        found = f"{sys.version_info[0]}.{sys.version_info[1]}"
        sys.stderr.write(
            f"Holdfast needs Python 3.11 or newer, and {name} is {found}. "
            "Choose another, for example: PYTHON=python3.12 make install\n"
        )
        return 1
    if not is_optimised():
        advice = "that costs about a fifth of the speed"
        if is_usable(SYSTEM_PYTHON):
            advice += f"; {SYSTEM_PYTHON} is optimised: make clean && PYTHON={SYSTEM_PYTHON} make install"
        sys.stdout.write(f"note: {sys.executable} was built without optimisation (PGO): {advice}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
