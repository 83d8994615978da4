"""The output of `make run`, and the signals from a terminal or a service manager."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from honcho.printer import Message, Printer

HURRY_AFTER_S = 1  # `timeout -s INT` and some shells send one Ctrl-C twice at once; a person needs longer
# Ctrl-C, a service manager, a closed terminal, Ctrl-\\.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class StopRequest:
    """Whether a stop was requested. The signal handlers only set flags, so nothing is interrupted half-way."""

    def __init__(self) -> None:
        self.made = False
        self.hurry = False
        self._made_at = 0.0

    def listen(self) -> None:
        """Handle the signals that request a stop."""
        for number in STOP_SIGNALS:
            # Keep ignoring SIGHUP under `nohup`. A shell that starts us in the background ignores SIGINT, but only
            # to keep its terminal's Ctrl-C away from us.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._note)

    def _note(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.made and number == signal.SIGINT and now - self._made_at > HURRY_AFTER_S:
            self.hurry = True
        if not self.made:
            self.made, self._made_at = True, now


@contextmanager
def foreground() -> Iterator[None]:
    """Take over the terminal from `make`, so that Ctrl-C reaches only us and `make run` returns 0.

    Otherwise `make` would also get the Ctrl-C and end with 130, whatever our exit code. Does nothing without a
    terminal, in a background job or pipeline, and when a shell has already given us the terminal.
    """
    group = os.getpgrp()
    if group == os.getpid() or not _is_in_front(group):
        yield
        return
    # The kernel sends SIGTTOU to a background process that takes the terminal. Ctrl-Z would stop us but not `make`.
    for number in (signal.SIGTTOU, signal.SIGTSTP):
        signal.signal(number, signal.SIG_IGN)
    os.setpgid(0, 0)
    os.tcsetpgrp(sys.stdout.fileno(), os.getpid())
    try:
        yield
    finally:
        with suppress(OSError):  # the terminal was closed
            os.tcsetpgrp(sys.stdout.fileno(), group)


def _is_in_front(group: int) -> bool:
    try:
        return sys.stdout.isatty() and os.tcgetpgrp(sys.stdout.fileno()) == group
    except OSError:
        return False


def say(text: str) -> None:
    """Print a text at once. When nobody reads it any more (a closed terminal, `| head`), request a stop."""
    try:
        print(text, flush=True)
    except OSError:
        _nobody_reads()


class Output(Printer):  # type: ignore[misc]  # honcho has no types
    """honcho's lines with the name of the process, in colour unless NO_COLOR is set. Log lines have their own time."""

    def __init__(self) -> None:
        super().__init__(sys.stdout, time_format="", colour=not os.environ.get("NO_COLOR"))

    def write(self, message: Message) -> None:
        if message.name == "system":  # honcho's own two lines for each process that starts or stops
            return
        try:
            super().write(message)
        except OSError:
            _nobody_reads()


def _nobody_reads() -> None:
    os.dup2(
        os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
    )  # otherwise every further line, and the exit, fails too
    os.kill(os.getpid(), signal.SIGTERM)
