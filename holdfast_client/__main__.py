"""The command line: `holdfast`, or `python -m holdfast_client`. Only this part of the client needs click."""

from __future__ import annotations

import sys

USAGE_ERROR = 2


def main() -> None:
    """Run the command that the arguments of the program name."""
    try:
        import click  # noqa: F401, PLC0415
    except ModuleNotFoundError:
        sys.stderr.write("Error: The command line needs the package click.\nInstall it: pip install 'click>=8.2,<9'\n")
        sys.exit(USAGE_ERROR)
    from holdfast_client.cli.commands import holdfast  # noqa: PLC0415

    holdfast(prog_name="holdfast")


if __name__ == "__main__":
    main()
