"""How gunicorn runs each of the five web processes. common/process/settings.py explains the settings."""

import gc
import logging
import os
import signal
import sys

from gunicorn import glogging

from common.database import start
from common.metrics import starting as metrics
from common.process import addresses, logs
from common.process.settings import SettingError, Settings
from common.tracing import tracer
from crash_points import points as crash_points

service = addresses.service_of(sys.argv)
try:
    settings = Settings.load(process=service)
    crash_points.arm(settings.crash_at)  # before the fork: all workers share one count
except SettingError as error:
    raise SystemExit(str(error)) from None  # one line and exit code 1, where an exception would be a page
if problem := start.role_problem(settings, service):
    raise SystemExit(problem)


class Logger(glogging.Logger):
    """Sends gunicorn's own messages through our logging, so that there is one format."""

    def setup(self, cfg):
        super().setup(cfg)
        service = cfg.default_proc_name.partition(".")[0]  # "edge_api" of "edge_api.app:create_app()"
        logs.configure(service, settings.log_level, settings.log_format)
        self.error_log.handlers.clear()
        self.error_log.propagate = True


def on_starting(server):
    """Open the port of the metrics and make their folder, once for all workers. A reload does not come here."""
    server.metrics = metrics.begin(settings, service)


def post_fork(server, worker):
    """Start what needs threads in the worker: they are lost in a fork."""
    tracer.start(settings, service)
    if server.metrics:
        server.metrics.in_worker(worker.app.wsgi())


def child_exit(server, _):
    if server.metrics:
        server.metrics.after_worker()


def on_exit(server):
    if server.metrics:
        server.metrics.end()


def post_worker_init(worker):
    """Tell the service when its worker stops, so that it ends each `?wait=`. Start the threads that it has of its own.

    The first worker records the start.
    """
    config = worker.app.wsgi().config
    config["IS_STOPPING"] = lambda: not worker.alive
    for thread in config["BACKGROUND"]:
        thread.start()
    if worker.age == 1:
        start.record(settings, service, stop=lambda: os.kill(worker.ppid, signal.SIGTERM))


def worker_exit(_, worker):
    for thread in worker.app.wsgi().config["BACKGROUND"]:
        thread.stop()
    tracer.stop()


def when_ready(server):
    """Log one line instead of the five that gunicorn logs at INFO."""
    gc.freeze()  # a collection would write to every page that the workers share
    addresses = ", ".join(str(listener) for listener in server.LISTENERS)
    size = f"{settings.web_concurrency} workers × {settings.web_threads} threads"
    logging.getLogger("gunicorn.ready").info("listening at %s, %s", addresses, size)


_host = f"[{settings.bind_host}]" if ":" in settings.bind_host else settings.bind_host  # IPv6
bind = f"{_host}:{settings.port}"
logger_class = Logger
# One level less than ours: gunicorn logs five lines at each start at INFO, and at DEBUG every path, secrets included.
loglevel = {"DEBUG": "info", "INFO": "warning"}.get(settings.log_level, settings.log_level.lower())
accesslog = None  # each service logs its requests itself, with their request ids

# Threads, because a request mostly waits for the database or for another service, and because gunicorn's process
# workers close each connection after one response. docs/decisions/0022 compares the two.
IS_OURS = settings.web_worker == "holdfast"
worker_class = "common.server.worker.Worker" if IS_OURS else "common.server.gthread.Worker"
preload_app = True  # the workers share what is loaded once: a fifth less memory for all processes together
workers = settings.web_concurrency
# Under gthread a request that waits (`?wait=`) holds a thread. edge_api/app.py lets half of the threads wait.
threads = settings.web_threads * (1 if IS_OURS else 2)
# 75 s: longer than the 60 s of usual proxies and load balancers. The caller should close idle connections first:
# otherwise its next request may meet a connection that is being closed.
keepalive = 75
# 20 s: platforms and `make run` wait 25 to 30 s from SIGTERM to SIGKILL. The service ends each `?wait=` at once, and
# idle connections do not delay the stop.
graceful_timeout = 20
# A worker whose main thread gives no sign of life for 60 s is replaced. Busy threads do not count.
timeout = 60
# The sign of life is a file's time. On a busy disk the worker would seem to hang.
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None
# No header of a client may say which path it asks for, or by which scheme: nothing here depends on the scheme, and
# proxies that disagree about it would get 400.
forwarder_headers = ""
secure_scheme_headers = {}
# gunicorn opens one control socket per user. Each of our four processes would take it over from the one before.
control_socket_disable = True
