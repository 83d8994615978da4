"""Loads prometheus_client for the master of a web process, in the right order, if METRICS_PORT is set."""

from __future__ import annotations

import logging
import os
from typing import TYPE_CHECKING

from common.metrics.folder import VARIABLE, Folder
from common.process.settings import Settings

if TYPE_CHECKING:
    from common.metrics.workers import Workers

log = logging.getLogger(__name__)


def begin(settings: Settings, service: str) -> Workers | None:
    """Called before the first fork. None: no metrics are wanted, or the log says why there are none."""
    if not settings.metrics_port:
        return None
    try:
        folder = Folder()
    except OSError as error:
        log.error("no metrics: cannot make a folder for them: %s", error)
        return None
    # Set, not read: prometheus_client takes its folder only from this variable, and looks for it when it is imported.
    os.environ[VARIABLE] = str(folder.path)
    from common.metrics import exposition, workers  # noqa: PLC0415

    listener = exposition.listen(settings.bind_host, settings.metrics_port)
    if listener is None:
        folder.remove()
        return None
    return workers.Workers(service, listener, folder)
