"""Operators who click through the pages of the console at random, as a browser would send it."""

from __future__ import annotations

import random
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from html import unescape
from typing import Any

import requests

from tests.chaos.buyers import CLOSES_WITHIN_S
from tests.chaos.clientlog import ClientLog
from tests.chaos.page import Form, Page
from tests.chaos.plan import AGAIN, AGAIN_AND_AGAIN, TWICE, one_of

NAME = "operator."  # and a number
CLICK, SEE = "click", "see"  # the kinds of lines in the log: a form that was sent, and a page that was opened
PAUSE_S = (0.1, 0.6)  # between two clicks
COMES_BACK_S, AGAIN_S = 1.0, 3.0  # with a form that was not answered, and with one that was
TIMEOUT_S = (2, 10)
SEARCH_SHARE, FILTER_SHARE = 0.05, 0.1  # of the clicks
FORM_SHARE = 0.6  # of the others, where the page has a form
MOSTLY = {"/jobs/new": 0.2, "/orders/[0-9a-f]": 0.5}  # shares of the links that are followed, where the page has such
OTHERS = 5  # times as often as a note, which can always be written
STATUSES = ("AUTHORIZED,ORDER_CREATED,INVENTORY_RESERVED,PAYMENT_CAPTURED", "COMPENSATING", "COMPLETED", "FAILED")
# What an operator may do in the storm. Clients compare prices, so these stay as they are. A test event belongs to no
# order, so none is sent.
ALLOWED = re.compile(
    "/(orders|refunds)/[^/]+/(retry|cancel|refunds|notes|dealt-with)|/products/[^/]+/stock"
    "|/webhooks/[^/]+/(enable|resend|deliveries/[^/]+/resend)|/jobs|/jobs/[^/]+/stop"
)
ORDER = re.compile("/orders/([0-9a-f-]{36})")
PROBLEM = re.compile("<b>Not (?:done|known)[.]</b> ([^<]*)<")
ID = re.compile("[0-9a-f]{8}[0-9a-f-]{28}|we_[0-9A-Za-z]+|cursor=[^&]+")
STOP = re.compile("/jobs/[^/]+/stop")
ANSWERED = 500
"""An answer below it is the last word about a form."""


@dataclass(frozen=True)
class Click:
    """A form, filled in. It may be sent again: it has a key."""

    path: str
    fields: dict[str, str]


class Operators:
    """`number` operators who share no session. `keys`: their names and keys."""

    def __init__(self, url: str, keys: dict[str, str], seed: int, log: ClientLog) -> None:
        self._all = [Operator(url, name, key, random.Random(f"{seed}:{name}"), log) for name, key in keys.items()]

    def start(self) -> None:
        for each in self._all:
            each.thread.start()

    def calm(self) -> None:
        """Click no more. Forms without an answer are sent until they have one, and open jobs are stopped."""
        for each in self._all:
            each.is_calm.set()

    def stop(self) -> None:
        for each in self._all:
            each.over.set()
        for each in self._all:
            if each.thread.ident:
                each.thread.join(CLOSES_WITHIN_S)

    @property
    def are_idle(self) -> bool:
        return all(each.is_idle for each in self._all)

    @property
    def trouble(self) -> list[BaseException]:
        return [error for each in self._all for error in each.trouble]


class Operator:
    def __init__(self, url: str, name: str, key: str, chance: random.Random, log: ClientLog) -> None:
        self._url, self._name, self._key, self._chance, self._log = url, name, key, chance, log
        self._cookies: Any = None
        self._page: Page | None = None
        self._order = ""
        self._again: list[tuple[float, Click]] = []
        self.over, self.is_calm = threading.Event(), threading.Event()
        self.is_idle = False
        self.trouble: list[BaseException] = []
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        try:
            while not self.over.wait(self._chance.uniform(*PAUSE_S)):
                self._send_again()
                if not self.is_calm.is_set():
                    self._click()
                elif not (self._again or self.is_idle):
                    self.is_idle = self._has_no_open_job()
        except BaseException as error:
            self.trouble.append(error)

    def _click(self) -> None:
        if self._page is None or not self._page.links:
            self._page = self._see("/")
            return
        forms = [form for form in self._page.forms if ALLOWED.fullmatch(form.action)]
        choice = self._chance.random()
        if choice < SEARCH_SHARE:
            self._page = self._see(f"/search?q={self._order}" if self._order else "/orders")
        elif choice < SEARCH_SHARE + FILTER_SHARE:
            self._page = self._see(f"/orders?status={self._chance.choice(STATUSES)}")
        elif forms and self._chance.random() < FORM_SHARE:
            weights = [1 if form.action.endswith("/notes") else OTHERS for form in forms]
            self._page = self._submit(self._chance.choices(forms, weights)[0])
        else:
            self._page = self._see(self._link(self._page))

    def _link(self, page: Page) -> str:
        """One of the links: often to where there is most to do, else each kind is as likely as another."""
        for form, share in MOSTLY.items():
            found = [link for link in page.links if re.match(form, link)]
            if found and self._chance.random() < share:
                return self._chance.choice(found)
        kind = self._chance.choice(sorted({ID.sub("", link) for link in page.links}))
        return self._chance.choice([link for link in page.links if ID.sub("", link) == kind])

    def _see(self, path: str) -> Page | None:
        """Open a page. None: there was no answer, or an error."""
        if found := ORDER.match(path):
            self._order = found[1]
        with self._browser() as browser:
            answer = self._answer(browser, SEE, "GET", path)
            if answer is not None and answer.url.startswith(f"{self._url}/sign-in"):
                self._sign_in(browser)
                return None
        return Page(answer.text) if answer is not None and answer.status_code == requests.codes.ok else None

    def _sign_in(self, browser: requests.Session) -> None:
        try:
            browser.post(f"{self._url}/sign-in", data={"key": self._key}, timeout=TIMEOUT_S, allow_redirects=False)
        except requests.RequestException:
            return
        self._cookies = browser.cookies

    def _submit(self, form: Form) -> Page | None:
        """Send a form: once, by a double click, or once more after its answer."""
        click = Click(form.action, form.filled(self._chance))
        behaviour = one_of(AGAIN_AND_AGAIN, self._chance) if "key" in click.fields else ""
        times = 2 if behaviour == TWICE else 1
        with ThreadPoolExecutor(times) as pool:
            answers = [each.result() for each in [pool.submit(self._send, click) for _ in range(times)]]
        if behaviour == AGAIN:
            self._again.append((time.monotonic() + AGAIN_S, click))
        answer = answers[0]
        return self._see(answer.headers["Location"]) if answer is not None and answer.is_redirect else None

    def _send(self, click: Click) -> requests.Response | None:
        with self._browser() as browser:
            answer = self._answer(browser, CLICK, "POST", click.path, click.fields)
        if answer is None or answer.status_code >= ANSWERED:
            self._again.append((time.monotonic() + COMES_BACK_S, click))
        return answer

    def _send_again(self) -> None:
        until = float("inf") if self.is_calm.is_set() else time.monotonic()
        due = [click for at, click in self._again if at <= until]
        self._again = [(at, click) for at, click in self._again if at > until]
        for click in due:
            self._send(click)

    def _has_no_open_job(self) -> bool:
        """Look at the newest jobs, and stop those that run."""
        if (jobs := self._see("/jobs")) is None:
            return False
        pages = [self._see(link) for link in dict.fromkeys(jobs.links) if re.fullmatch("/jobs/[0-9a-f-]{36}", link)]
        stops = [form for page in pages if page for form in page.forms if STOP.fullmatch(form.action)]
        for form in stops:
            self._send(Click(form.action, form.hidden))
        return not stops and None not in pages

    def _browser(self) -> requests.Session:
        browser = requests.Session()
        browser.trust_env = False
        browser.cookies.update(self._cookies or {})
        browser.headers.update({"Sec-Fetch-Site": "same-origin", "Origin": self._url})
        return browser

    def _answer(
        self, browser: requests.Session, kind: str, method: str, path: str, fields: dict[str, str] | None = None
    ) -> requests.Response | None:
        facts: dict[str, Any] = {"operator": self._name, "fields": fields, "sent": round(time.time(), 3)}
        try:
            answer = browser.request(
                method, f"{self._url}{path}", data=fields, timeout=TIMEOUT_S, allow_redirects=fields is None
            )
        except requests.RequestException as error:
            self._log.write(kind, path, **facts, answer=None, why=type(error).__name__)
            return None
        told = {"location": answer.headers["Location"]} if answer.is_redirect else {}
        if problem := PROBLEM.search(answer.text):
            told["problem"] = unescape(problem[1])
        self._log.write(kind, path, **facts, answer=answer.status_code, **told)
        return answer
