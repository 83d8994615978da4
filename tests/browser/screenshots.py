"""Take a picture of every page of a running console, light, dark and as wide as a phone.

    python -m tests.browser.screenshots FOLDER [--url http://127.0.0.1:8400] [--order ID]

Pages of one order, product, job or webhook endpoint show the first that the console lists.
Without --url, the console of `make run` is taken. The key is HOLDFAST_OPERATOR_KEY, or that in var/credentials.env.
"""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from playwright.sync_api import Browser, Page

from common.process import env_file
from tests.browser.console_site import LOOKS, Site, paths
from tests.browser.serving import launched

CREDENTIALS = Path(__file__).parents[2] / "var" / "credentials.env"
# Id in a page's path → the list that has one, and what links to it there.
LISTS = {
    "order_ledger_id": ("/orders", re.compile(r"/orders/([0-9a-f-]{36})")),
    "product_id": ("/products", re.compile(r"/products/([0-9a-f-]{36})")),
    "job_id": ("/jobs", re.compile(r"/jobs/([0-9a-f-]{36})")),
    "webhook_endpoint_id": ("/webhooks", re.compile(r"/webhooks/(\w+)")),
}


class Known(dict[str, str]):
    """Ids for the paths of pages. Pages with another id are left out."""

    def __missing__(self, name: str) -> str:
        return ""


def take(browser: Browser, site: Site, folder: Path, ids: Mapping[str, str]) -> list[Path]:
    """Take all pictures. :returns: their files"""
    taken = []
    for look in LOOKS:
        with site.visited(browser, look, is_signed_in=False) as page:
            taken.append(_shoot(page, folder / f"sign_in-{look}.png"))
        with site.visited(browser, look) as page:
            known = Known(_listed(site, page) | dict(ids))
            for name, path in paths(known).items():
                if name != "sign_in" and (path == "/" or all(path.split("/")[1:])):
                    site.open(page, path)
                    taken.append(_shoot(page, folder / f"{name}-{look}.png"))
    return taken


def _listed(site: Site, page: Page) -> dict[str, str]:
    """An id of each kind that the console lists."""
    ids = {}
    for name, (path, link) in LISTS.items():
        site.open(page, path)
        if found := link.search(page.content()):
            ids[name] = found[1]
    return ids


def _shoot(page: Page, path: Path) -> Path:
    page.screenshot(path=path, full_page=True)
    return path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--url", help="of the console")
    parser.add_argument("--order", help="the order to show; default: the newest")
    given = parser.parse_args()
    known = env_file.read(CREDENTIALS) | dict(os.environ)
    site = Site((given.url or known["HOLDFAST_CONSOLE_URL"]).rstrip("/"), known["HOLDFAST_OPERATOR_KEY"])
    given.folder.mkdir(parents=True, exist_ok=True)
    with launched() as browser:
        ids = {"order_ledger_id": given.order} if given.order else {}
        sys.stdout.writelines(f"{path}\n" for path in take(browser, site, given.folder, ids))


if __name__ == "__main__":
    main()
