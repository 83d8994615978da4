"""Sign-in with a real OpenID provider, as a person does it. tests/browser does the same in a browser."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urljoin

import pytest
import requests
from flask import Flask

from tests.browser.serving import served
from tests.console.desk import text_of
from tests.console.real_provider import real_provider
from tests.system.stack import free_port

FORM = re.compile(r'<form[^>]*action="([^"]+)"')
PROMPT = re.compile(r'name="prompt" value="(\w+)"')


@pytest.fixture
def site(console_with: Callable[..., Flask], tmp_path: Path) -> Iterator[str]:
    """A console whose operators sign in with a provider."""
    port = free_port()
    site = f"http://127.0.0.1:{port}"
    provider = real_provider(f"{site}/sign-in/provider/back", tmp_path / "provider.log")
    with provider as settings, served(console_with(**settings), port):
        yield site


def sign_in(browser: requests.Session, site: str, login: str) -> requests.Response:
    """Fill in the provider's forms until it sends the browser back."""
    page = browser.get(f"{site}/sign-in/provider?next=/orders", timeout=30)
    while (form := FORM.search(page.text)) and (prompt := PROMPT.search(page.text)):
        fields = {"prompt": prompt[1], "login": login, "password": "any"}
        page = browser.post(urljoin(page.url, form[1]), data=fields, timeout=30)
    return page


@pytest.mark.parametrize(("login", "shown"), [("ada.staff", "viewer"), ("grace.ops.staff", "operator")])
def test_person_signs_in_with_the_role_of_the_group(site: str, login: str, shown: str) -> None:
    with requests.Session() as browser:
        back = sign_in(browser, site, login)
        assert back.status_code == 200, back.text
        assert 'content="0; url=/orders"' in back.text
        assert f"{login.partition('.')[0]}@shop.example ({shown})" in text_of(browser.get(f"{site}/orders", timeout=30))


def test_person_without_a_group_is_refused(site: str) -> None:
    with requests.Session() as browser:
        assert "in no group that may use this console" in text_of(sign_in(browser, site, "mallory.marketing"))


def test_code_works_once(site: str) -> None:
    with requests.Session() as browser:
        back = sign_in(browser, site, "ada.staff")
        assert back.status_code == 200
        again = browser.get(back.url, timeout=30)
        assert again.status_code == 403
