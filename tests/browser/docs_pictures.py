"""Take the pictures of docs/console.md from the running system, light and dark (`make screenshots`).

    python -m tests.browser.docs_pictures [FOLDER]

HOLDFAST_CONSOLE_URL and HOLDFAST_OPERATOR_KEY, or var/credentials.env of `make run`, say which system. Each page shows
what it has, so place orders first. A page without any is left out.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page

from common.process import env_file
from tests.browser.console_site import Site
from tests.browser.screenshots import CREDENTIALS
from tests.browser.serving import launched

FOLDER = Path(__file__).parents[2] / "docs" / "images" / "console"
LOOKS = ("light", "dark")
# Picture → the page, and where on it the first link of this kind is followed.
PICTURES = {
    "overview": ("/", ""),
    "orders": ("/orders?limit=15", ""),
    "order-failed": ("/orders?status=FAILED", "main td a[href*='/orders/']"),
    "attention": ("/attention", ""),
    "product": ("/products", "main td a[href*='/products/'], main th a[href*='/products/']"),
    "jobs": ("/jobs", ""),
    "audit": ("/audit", ""),
}
MAX_HEIGHT = 1750
BELOW = 24  # px under the last thing on the page
LAST_THING = "document.querySelector('main').lastElementChild.getBoundingClientRect().bottom + window.scrollY"
COLOURS = 64  # of a picture: text and lines need no more, and the file is a third
SETTLES_MS = 1500  # charts are drawn, and the services were asked


def take(page: Page, site: Site, folder: Path, look: str) -> list[Path]:
    taken = []
    for name, (path, link) in PICTURES.items():
        site.open(page, path)
        if link:
            if not page.locator(link).count():
                continue
            page.locator(link).first.click()
        page.wait_for_load_state("networkidle")
        page.wait_for_timeout(SETTLES_MS)
        taken.append(_save(_shoot(page), folder / f"{name}-{look}.png"))
    return taken


def _shoot(page: Page) -> bytes:
    height = min(int(page.evaluate(LAST_THING)) + BELOW, MAX_HEIGHT)
    return page.screenshot(full_page=True, clip={"x": 0, "y": 0, "width": 1280, "height": height})


def _save(png: bytes, path: Path) -> Path:
    with Image.open(io.BytesIO(png)) as picture:
        picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)
    return path


def main() -> None:
    known = env_file.read(CREDENTIALS) | dict(os.environ)
    site = Site(known["HOLDFAST_CONSOLE_URL"].rstrip("/"), known["HOLDFAST_OPERATOR_KEY"])
    folder = Path(sys.argv[1]) if sys.argv[1:] else FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with launched() as browser:
        for look in LOOKS:
            with site.visited(browser, look) as page:
                sys.stdout.writelines(f"{path}\n" for path in take(page, site, folder, look))


if __name__ == "__main__":
    main()
