"""Row 76: SIGTERM arrives while the orchestrator holds a lock. Required: the handler does not wait for that lock."""

from __future__ import annotations

import subprocess
import sys

from tests.audit.test_audit_command import PROJECT

# A handler runs between any two instructions of the main thread; here, while it holds the lock of the event that
# means "stop". The event is set after the lock is released.
INTERRUPTED = """
import os, signal, threading
from common.process.settings import Settings
from orchestrator import __main__ as module

orchestrator = module.Orchestrator(Settings.load())
orchestrator.threads.stop_on_signals()
with orchestrator.threads.stopping._cond:
    os.kill(os.getpid(), signal.SIGTERM)
raise SystemExit(orchestrator.run())
"""


def test_signal_that_interrupts_a_lock_stops_the_orchestrator(url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", INTERRUPTED], cwd=PROJECT, env={"DATABASE_URL": url}, timeout=60, check=False
    )
    assert done.returncode == 0
