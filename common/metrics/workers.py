"""`/metrics` of a web process: what gunicorn's hooks do. See gunicorn.conf.py.

The master opens the socket, and has no thread. Each worker makes its values after the fork, and a thread that answers:
whichever worker gets the connection, as the files are shared. With SO_REUSEPORT instead, another process of the same
user could take half of the scrapes unnoticed, and a worker that dies would lose those that wait for it.
"""

from __future__ import annotations

import logging
import os
import socket

from flask import Flask
from prometheus_client import CollectorRegistry

from common.metrics import exposition, files, meters
from common.metrics.folder import Folder
from common.process import measures

log = logging.getLogger(__name__)


class Workers:
    """The metrics of one gunicorn."""

    def __init__(self, service: str, listener: socket.socket, folder: Folder) -> None:
        self._service, self._listener, self._folder = service, listener, folder

    def in_worker(self, app: Flask) -> None:
        """After the fork. Does not raise: a worker without metrics is better than none."""
        try:
            self._serve(app)
        except Exception:  # an error in metrics must not stop requests
            log.warning("a worker has no metrics", exc_info=True)

    def _serve(self, app: Flask) -> None:
        meter = meters.Web(self._service, CollectorRegistry())
        registry = CollectorRegistry()
        registry.register(files.Collector(self._folder.path))

        def look() -> None:
            for state, connections in app.config["POOL"]().items():
                meter.pool(state, connections)
            for participant, is_open in app.config["BREAKERS"].items():
                meter.breaker(participant, is_open=is_open())

        look()
        exposition.serve(self._listener, registry, look)
        measures.use(meter)

    def after_worker(self) -> None:
        """In the master, when a worker has ended. Does not raise: that would end the master."""
        try:
            files.fold(self._folder.path, _is_alive)
        except Exception as error:  # any error would end the master
            cause = None if isinstance(error, OSError) else error
            log.warning("the metrics of a worker that ended are not added up: %s", error, exc_info=cause)

    def end(self) -> None:
        """At the end of the master."""
        self._listener.close()
        self._folder.remove()


def _is_alive(pid: int) -> bool:
    """Also true for another process that got this number. Then the files wait."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
