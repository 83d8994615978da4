"""The console under CONSOLE_PATH behind a real nginx, which removes that path or does not."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import pytest
import requests

from tests.console.desk import new_key
from tests.database.conftest import new_database, new_migrated_database
from tests.deploy.test_nginx import nginx
from tests.system.stack import Stack, free_port
from tests.waiting import eventually

__all__ = ["new_database", "new_migrated_database"]  # fixtures
PREFIX = "/ops/holdfast"
CONF = """
pid nginx.pid;
events {{}}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path a; uwsgi_temp_path b; scgi_temp_path c;
    server {{
        listen 127.0.0.1:{port};
        location {prefix}/ {{
            proxy_pass http://127.0.0.1:{console}{path};
            proxy_set_header Host $http_host;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
            proxy_set_header X-Forwarded-Proto $scheme;
        }}
    }}
}}
"""
LINK = re.compile(r'(?:href|src|action|spec-url|hx-get|hx-post)="(?!data:)([^"#]+)"')
KEEPS, REMOVES = "", "/"


@pytest.fixture(scope="module", name="url")
def new_url(new_migrated_database: Callable[[], str]) -> str:
    """In the database of the other tests, the record of operators links to orders that are no longer there."""
    return new_migrated_database()


@pytest.fixture(params=[KEEPS, REMOVES], ids=["path kept", "path removed"])
def site(request: pytest.FixtureRequest, url: str, tmp_path: Path) -> Iterator[str]:
    """The address of the console at nginx."""
    program, port = nginx(), free_port()
    with Stack(url, tmp_path) as stack:
        stack.start("console", CONSOLE_PATH=PREFIX)
        console = stack.address("console")[1]
        conf = tmp_path / "nginx.conf"
        conf.write_text(CONF.format(port=port, prefix=PREFIX, console=console, path=request.param))
        command = [program, "-p", str(tmp_path), "-c", str(conf), "-e", "stderr", "-g", "daemon off;"]
        with (tmp_path / "nginx.log").open("wb") as log:
            process = subprocess.Popen(command, stderr=log)
        try:
            site = f"http://127.0.0.1:{port}"
            eventually(lambda: is_up(f"{site}{PREFIX}/sign-in"), 30)
            yield site
        finally:
            process.terminate()
            process.wait(30)


def is_up(address: str) -> bool:
    try:
        return requests.get(address, timeout=5).ok
    except requests.RequestException:
        return False


def test_everything_stays_under_the_path(site: str, url: str) -> None:
    with requests.Session() as browser:
        first = browser.get(f"{site}{PREFIX}/orders?status=FAILED", timeout=10)
        assert urlsplit(first.url).path == f"{PREFIX}/sign-in"
        form = {"key": new_key(url), "next": f"{PREFIX}/orders?status=FAILED"}
        signed_in = browser.post(first.url, data=form, headers={"Origin": site}, timeout=10)
        assert signed_in.url == f"{site}{PREFIX}/orders?status=FAILED"
        (cookie,) = browser.cookies
        assert cookie.path == f"{PREFIX}/"
        visited = crawl(browser, f"{site}{PREFIX}/")
        assert {f"{PREFIX}/", f"{PREFIX}/orders", f"{PREFIX}/static/console.js"} <= visited
        out = browser.post(f"{site}{PREFIX}/sign-out", headers={"Origin": site}, timeout=10)
        assert urlsplit(out.url).path == f"{PREFIX}/sign-in"
        assert not browser.cookies


def test_documentation_is_under_the_path(site: str) -> None:
    with requests.Session() as browser:
        visited = crawl(browser, f"{site}{PREFIX}/docs")
    assert {f"{PREFIX}/docs/page.css", f"{PREFIX}/docs/rapidoc-min.js", f"{PREFIX}/openapi.json"} <= visited


def crawl(browser: requests.Session, start: str) -> set[str]:
    """Follow each link of each page. :returns: the paths, all of which answer"""
    visited: set[str] = set()
    waiting = [start]
    while waiting:
        address = waiting.pop()
        path = urlsplit(address).path
        if path in visited or path.endswith("/sign-out"):
            continue
        visited.add(path)
        answer = browser.get(address, timeout=10)
        assert answer.status_code == 200, address
        assert path.startswith(f"{PREFIX}/"), address
        if answer.headers["Content-Type"].startswith("text/html"):
            waiting += [urljoin(answer.url, link.replace("&amp;", "&")) for link in LINK.findall(answer.text)]
    return visited


def test_api_answers_under_the_path(site: str, url: str) -> None:
    headers = {"Authorization": f"Bearer {new_key(url)}"}
    answer = requests.get(f"{site}{PREFIX}/api/orders", headers=headers, timeout=10)
    assert answer.json() == {"orders": [], "next_cursor": None}
