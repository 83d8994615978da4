"""What `make run` says, and the signals that a terminal or a service manager sends it."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

from honcho.printer import Message, Printer

HURRY_AFTER_S = 1  # `timeout -s INT` and some shells send one Ctrl-C twice at once; a person takes longer
# Ctrl-C, a service manager, a closed terminal, Ctrl-\\.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class StopRequest:
    """Whether somebody wants everything to end. Handlers only take note, so nothing is interrupted half-way."""

    def __init__(self) -> None:
        self.made = False
        self.hurry = False
        self._made_at = 0.0

    def listen(self) -> None:
        """Take over the signals that ask for the end."""
        for number in STOP_SIGNALS:
            # `nohup` ignores SIGHUP for us; a shell that starts us in the background ignores SIGINT, and only
            # means that its own terminal's Ctrl-C is not for us.
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._take_note)

    def _take_note(self, number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if self.made and number == signal.SIGINT and now - self._made_at > HURRY_AFTER_S:
            self.hurry = True
        if not self.made:
            self.made, self._made_at = True, now


@contextmanager
def foreground() -> Iterator[None]:
    """Take the terminal over from `make` meanwhile, so that Ctrl-C is ours alone and `make run` returns 0.

    Otherwise `make` would get the Ctrl-C too, and end with 130 whatever our own code is. Does nothing where there is
    no terminal, where it is not ours to take (a background job, a pipeline), or where a shell has given it to us.
    """
    group = os.getpgrp()
    if group == os.getpid() or not _is_in_front(group):
        yield
        return
    # Taking the terminal from behind is answered by SIGTTOU; and Ctrl-Z would now stop us but not `make`.
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
    """Print a text at once; where nobody reads any more (a closed terminal, `| head`), ask for the end."""
    try:
        print(text, flush=True)
    except OSError:
        _nobody_listens()


class Output(Printer):  # type: ignore[misc]  # honcho has no types
    """honcho's lines, each with its process's name and colour. The time is left to the line itself."""

    def __init__(self) -> None:
        super().__init__(sys.stdout, time_format="")

    def write(self, message: Message) -> None:
        if message.name == "system":  # honcho on itself: two lines for each process that starts or stops
            return
        try:
            super().write(message)
        except OSError:
            _nobody_listens()


def _nobody_listens() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else every line, and the exit, fails again
    os.kill(os.getpid(), signal.SIGTERM)
