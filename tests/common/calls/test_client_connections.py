"""The client on real connections."""

import json
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from common.calls import client
from common.calls.client import Nothing, ServiceClient, Yes

ROOT = Path(__file__).parents[3]


class Answering(BaseHTTPRequestHandler):
    """Answers as its path says, with the caller's port."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = json.dumps({"port": self.client_address[1], "authorization": self.headers["Authorization"]}).encode()
        missing = 10 if self.path == "/cut" else 0
        self.send_response(200)
        self.send_header("Content-Length", str(len(body) + missing))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = bool(missing)

    def log_message(self, *_):
        pass


@contextmanager
def serving(handler=Answering):
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.fixture
def real():
    with serving() as url:
        yield ServiceClient("orders", url)


def test_truncated_body_is_nothing(real):
    assert real.ask("GET", "/cut") == Nothing("orders: ConnectionError")


def test_proxies_and_netrc_of_the_environment_are_ignored(real, monkeypatch, tmp_path):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    answer = real.ask("GET", "/")
    assert isinstance(answer, Yes)
    assert answer.body["authorization"] is None


def test_missing_answer_times_out(monkeypatch):
    monkeypatch.setattr(client, "READ_TIMEOUT_S", 0.05)
    with ThreadingHTTPServer(("127.0.0.1", 0), Answering) as silent:  # listens and never answers
        found = ServiceClient("orders", f"http://127.0.0.1:{silent.server_port}").ask("GET", "/")
    assert found == Nothing("orders: ReadTimeout")


def test_a_request_is_sent_once():
    """The durable retry loop is the only one: nothing below it retries."""
    requests_seen = []

    class HangingUp(Answering):
        def do_GET(self):
            requests_seen.append(self.path)
            self.close_connection = True  # without an answer

    with serving(HangingUp) as url:
        assert ServiceClient("orders", url).ask("GET", "/") == Nothing("orders: ConnectionError")
    assert requests_seen == ["/"]


def test_refused_connection_is_nothing():
    assert ServiceClient("orders", "http://127.0.0.1:1").ask("GET", "/") == Nothing("orders: ConnectionError")


def test_each_thread_keeps_its_own_connection(real):
    def port():
        return real.ask("GET", "/").body["port"]

    mine = port()
    with ThreadPoolExecutor(1) as thread:  # while the main thread's connection is idle
        others = thread.submit(port).result(10)
        assert thread.submit(port).result(10) == others
    assert port() == mine != others


FORKED = """
import os, sys
from common.calls.client import ServiceClient

service = ServiceClient("orders", sys.argv[1])
before = service.ask("GET", "/").body["port"]
child = os.fork()
if not child:
    os._exit(service.ask("GET", "/").body["port"] == before)
assert os.waitpid(child, 0)[1] == 0, "the child used its parent's connection"
assert service.ask("GET", "/").body["port"] == before
"""


def test_forked_process_opens_its_own_connection():
    with serving() as url:
        command = [sys.executable, "-c", FORKED, url]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


def test_thread_that_still_works_while_its_process_exits_keeps_its_connection():
    """The main thread of a web worker ends first."""
    script = (
        "import atexit, sys; from common.calls.client import ServiceClient;"
        "client = ServiceClient('orders', sys.argv[1]); atexit.register(lambda: print(client.ask('GET', '/')));"
        "print(client.ask('GET', '/'))"
    )
    with serving() as url:
        command = [sys.executable, "-c", script, url]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    first, last = ended.stdout.splitlines()
    assert first == last, ended.stderr  # with the same port
