"""A receiver of webhooks: writes down what it gets, and then accepts it, fails, hangs or closes the connection.

`python -m tests.chaos.receiver PORT FILE SEED FAILURE_RATE`
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

ACCEPTED, CLOSED, HUNG = "204", "closed", "hung"
FATES = (("500", 40), (CLOSED, 25), (HUNG, 10), ("302", 10), ("429", 10), ("410", 5))  # of what is not accepted
HANGS_S = 60  # or until the sender hangs up


class Receiver(ThreadingHTTPServer):
    """The n-th request has the same fate in every run with the same seed."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, file: Path, seed: str, failure_rate: float) -> None:
        self._chance, self._failure_rate = random.Random(seed), failure_rate
        self._lock = threading.Lock()
        self._file = file.open("a", buffering=1)
        super().__init__(("127.0.0.1", port), Handler)

    def note(self, headers: dict[str, str], body: bytes) -> str:
        """Write the request down. :returns: its fate"""
        with self._lock:
            fate = ACCEPTED
            if self._chance.random() < self._failure_rate:
                fate = self._chance.choices([name for name, _ in FATES], [share for _, share in FATES])[0]
            line = {"at": time.time(), "fate": fate, "headers": headers, "body": body.decode("latin-1")}
            self._file.write(json.dumps(line) + "\n")
        return fate

    def handle_error(self, *_: object) -> None:
        """A connection that the other side has closed."""


class Handler(BaseHTTPRequestHandler):
    server: Receiver
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name: value for name, value in self.headers.items() if name.lower().startswith("webhook-")}
        fate = self.server.note(headers, body)
        self.close_connection = True
        if fate == HUNG:
            self.connection.settimeout(HANGS_S)
            self.connection.recv(1)
        elif fate != CLOSED:
            self.send_response(int(fate))
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    port_, file_, seed_, rate_ = sys.argv[1:]
    Receiver(int(port_), Path(file_), seed_, float(rate_)).serve_forever()
