"""Participants that cost next to nothing: one nginx that says yes to every step of a saga, at once or after a delay.

It cannot read bodies, so callers name the saga in the `X-Request-ID` header: LEDGER_ID.ORDER_ID.
"""

from __future__ import annotations

import json
import re
import subprocess
import urllib.request
from pathlib import Path

from benchmarks.contenders.calls import AMOUNT_CENTS, ITEMS, USER_ID, authorization_id_for
from benchmarks.patience import until
from benchmarks.processes import free_port
from benchmarks.programs import file, program

ECHO_MODULE = Path("/usr/lib/nginx/modules/ngx_http_echo_module.so")

# One worker process; README.md has its limit.
CONFIG = """
%(modules)s
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log error;
pcre_jit on;
events { worker_connections 1024; }
http {
  access_log off;
  default_type application/json;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;  # a new connection after every thousand requests would blur the figures
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  map $http_x_request_id $ledger_id { default ""; "~^(?<ledger>[^.]+)[.]" $ledger; }
  map $http_x_request_id $order_id { default ""; "~[.](?<order>.+)$" $order; }
  server {
    listen 127.0.0.1:%(port)d;
    location = /stub_status { stub_status; }
%(locations)s
  }
}
"""
AT_ONCE = "    location %(where)s { return 200 '%(answer)s'; }"
AFTER_A_WHILE = """\
    location %(where)s { echo_sleep %(seconds)g; echo_exec @%(name)s; }
    location @%(name)s { return 200 '%(answer)s'; }"""

_ITEMS = json.dumps(ITEMS)
_ORDER = (
    f'"order_ledger_id": "$ledger_id", "user_id": "{USER_ID}", "total_amount_cents": {AMOUNT_CENTS},'
    f' "currency": "USD", "items": {_ITEMS}'
)
_AUTHORIZATION = authorization_id_for("$ledger_id")
ANSWERS = {
    "create": ("= /orders", f'{{"id": "$order_id", "status": "PENDING", {_ORDER}}}'),
    "reserve": ("= /inventory/reservations", f'{{"order_id": "$order_id", "status": "RESERVED", "items": {_ITEMS}}}'),
    "capture": (
        "/payments/capture/",
        f'{{"authorization_id": "{_AUTHORIZATION}", "status": "CAPTURED", "amount_cents": {AMOUNT_CENTS},'
        f' "capture_id": "cap_$ledger_id", "items": {_ITEMS}}}',
    ),
    "confirm": ("/orders/", f'{{"id": "$order_id", "status": "CONFIRMED", {_ORDER}}}'),
}


class Stub:
    """All participants at one address.

    :param delay_s: the delay of each response; needs nginx's echo module
    """

    def __init__(self, folder: Path, delay_s: float = 0) -> None:
        self._folder, self._delay_s, self._port = folder, delay_s, free_port()
        self._looks = 0  # requests of the status page, which nginx counts too
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Stub:
        nginx = program("nginx", "nginx-light")
        self._folder.mkdir(parents=True, exist_ok=True)
        config = self._folder / "nginx.conf"
        config.write_text(self._config())
        self._process = subprocess.Popen(
            [nginx, "-p", self._folder, "-c", config.resolve(), "-e", "error.log"], stderr=subprocess.DEVNULL
        )
        until(self._is_up, 10, f"nginx ({self._folder / 'error.log'})")
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait()

    @property
    def pid(self) -> int:
        return self._process.pid

    def answered(self) -> int:
        """The number of calls answered so far."""
        with urllib.request.urlopen(f"{self.url}/stub_status", timeout=5) as response:
            figures = re.search(r"(\d+) (\d+) (\d+)", response.read().decode())
        assert figures, "nginx's status page has another format"
        self._looks += 1
        return int(figures[3]) - self._looks

    def _is_up(self) -> bool:
        try:
            return self.answered() >= 0
        except OSError:
            return False

    def _config(self) -> str:
        module = f"load_module {file(ECHO_MODULE, 'libnginx-mod-http-echo')};" if self._delay_s else ""
        form = AFTER_A_WHILE if self._delay_s else AT_ONCE
        locations = [
            form % {"where": where, "name": name, "answer": answer, "seconds": self._delay_s}
            for name, (where, answer) in ANSWERS.items()
        ]
        return CONFIG % {"modules": module, "port": self._port, "locations": "\n".join(locations)}
