"""How gunicorn runs each of the four web processes. common/process/settings.py has the settings' meanings."""

import gc
import logging
import os
import sys

from gunicorn import glogging

from common.process import addresses, logs
from common.process.settings import SettingError, Settings
from crash_points import points as crash_points

try:
    settings = Settings.load(service=addresses.service_of(sys.argv))
    crash_points.arm(settings.crash_at)  # before the fork: all workers share one count
except SettingError as error:
    raise SystemExit(str(error)) from None  # one line and exit code 1, where an exception would be a page


class Logger(glogging.Logger):
    """gunicorn's own messages go the way of all others, so that there is one format."""

    def setup(self, cfg):
        super().setup(cfg)
        service = cfg.default_proc_name.partition(".")[0]  # "edge_api" of "edge_api.app:create_app()"
        logs.configure(service, settings.log_level, settings.log_format)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def post_worker_init(worker):
    """Let the service see that its worker is about to end, so that a long `?wait=` is cut short."""
    worker.wsgi.config["IS_STOPPING"] = lambda: not worker.alive


def when_ready(server):
    """One line instead of the five that gunicorn tells at INFO."""
    gc.freeze()  # what is there before the fork stays shared: a collection would write to every page of it
    addresses = ", ".join(str(listener) for listener in server.LISTENERS)
    size = f"{settings.web_concurrency} workers × {settings.web_threads} threads"
    logging.getLogger("gunicorn.ready").info("listening at %s, %s", addresses, size)


_host = f"[{settings.bind_host}]" if ":" in settings.bind_host else settings.bind_host  # IPv6
bind = f"{_host}:{settings.port}"
logger_class = Logger
# One level less than ours: at INFO it tells five lines at each start, at DEBUG every path, whatever may stand in it.
loglevel = {"DEBUG": "info", "INFO": "warning"}.get(settings.log_level, settings.log_level.lower())
accesslog = None  # each service logs its requests itself, with their request ids

# Threads, because a request mostly waits for the database or for another service, and because only this kind of
# worker keeps connections alive, which the services' calls to each other live on.
worker_class = "common.server.worker.Worker"
preload_app = True  # the workers share the memory of what is loaded once: a fifth less for all processes together
workers = settings.web_concurrency
threads = settings.web_threads
# 75 s: longer than the 60 s for which usual proxies and load balancers keep a connection. Whoever is the first to
# close should be the caller: the other way round its next request may meet a connection that is just being closed.
keepalive = 75
# 20 s: platforms and `make run` wait 25 to 30 s from SIGTERM to SIGKILL; the longest answer, `?wait=30`, is cut short
# by the service itself. Idle kept-alive connections do not hold up the end.
graceful_timeout = 20
# 60 s without a sign of life, twice the longest `?wait=`: the worker hangs and is replaced. A thread that waits does
# not count, as the signs are given by the worker's main thread.
timeout = 60
# The sign of life is a file's time. On a disk that is busy writing, the worker would seem to hang.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
# A header of the client's may not say which path it asks for, wherever it comes from.
forwarder_headers = ""
# gunicorn opens one control socket per user, and the second of our four processes would take it over.
control_socket_disable = True
