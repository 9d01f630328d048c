"""Takes the screenshots of docs/images: `python -m docs.make_screenshots [FOLDER]`.

Serves a controller over a database, and opens what the documentation shows, the page of a search also in dark and on a
phone. The search, its trial and the comparisons are real, from the records in benchmarks/results; two searches beside
them and the notifications are made up. Needs playwright and Pillow, which the extra `dev` brings, and a Chromium;
CHROMIUM names its executable if it is not /usr/bin/chromium.
"""

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.filled_database import fill, fill_subscriptions
from benchmarks.page import serve
from benchmarks.record import RESULTS
from paploss.client.annotations import ExperimentAnnotation
from paploss.client.specs import ConfirmSpec, SearchSpec
from paploss.controller.store.annotations import annotate_experiment
from paploss.controller.store.database import Database
from paploss.controller.store.dumps import load

FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
LOOKS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 1000}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 1000}},
    "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}},
}
MOST_PX = 2000
"""Of a longer page the beginning is kept."""
COLOURS = 160
"""A palette of so many keeps an image small; the page has few colours."""
PATIENCE_MS = 120_000
SEARCH = "evidence/retinanet-tiny-bccd-guided-seed-0"
COMPARISON = "evidence/retinanet-tiny-bccd-test-1-x-the-length-of-the-proxies"
NOTE = "First search on **cells**: does the published set hold with 4 epochs?"


def fill_example(database: Database) -> dict[str, str]:
    """Every page by name, or the part of one that its fragment names.

    Two searches whose rewards are made up, and notifications, stand beside the recorded one and the comparisons.
    """
    search, comparison, analysed = (_load(database, name) for name in (SEARCH, COMPARISON, "bccd-detections"))
    confirm = ConfirmSpec(candidates=3, seeds=3)
    finished = fill(database, SearchSpec(name="Example", profile="retinanet-tiny", rounds=40, confirm=confirm))
    running = SearchSpec(name="Example, more trials", profile="retinanet-tiny", rounds=40, trials_per_round=12, seed=1)
    unfinished = fill(database, running, rounds=23, owner="ben")
    subscription = fill_subscriptions(database, unfinished)
    with database.write() as session:
        annotate_experiment(session, search, ExperimentAnnotation(note=NOTE, tags=("cells", "paper")))
        annotate_experiment(session, unfinished, ExperimentAnnotation(tags=("baseline",)))
    return {
        "searches": "/",
        "search": f"/experiments/{search}",
        "trial": f"/trials/{search}-000087",
        "training": f"/experiments/{comparison}",
        "start": "/experiments/new?example=bccd",
        "explore": f"/experiments/{search}/explore",
        "detections": f"/experiments/{analysed}#detections",
        "compare": f"/compare?id={search}&id={finished}&id={unfinished}&id={comparison}",
        "workers": "/workers",
        "notifications": "/subscriptions",
        "deliveries": f"/subscriptions/{subscription}",
    }


def _load(database: Database, name: str) -> str:
    with (RESULTS / f"{name}.jsonl.gz").open("rb") as file:
        return load(database, file, data_roots=[Path("/data")], most_bytes=2**30, try_views=lambda *_: None)


def take(browser: Browser, url: str, key: str, *, look: str, pages: dict[str, str], folder: Path) -> None:
    """These pages in one look."""
    page = browser.new_page(**LOOKS[look])
    page.set_default_timeout(PATIENCE_MS)
    page.goto(f"{url}/sign-in")
    page.fill("#key", key)
    page.click("button.primary")
    page.wait_for_url(f"{url}/")
    for name, path in pages.items():
        page.goto(url + path)
        for figure in page.locator(".figure").all():
            figure.locator(".main-svg").first.wait_for()
        part = path.partition("#")[2]
        if part:
            page.locator(f"#{part}").screenshot(path=folder / f"{name}-{look}.png")
            _shrink(folder / f"{name}-{look}.png")
        else:
            _take(page, folder / f"{name}-{look}.png")
    page.close()


def _take(page: Page, path: Path) -> None:
    height = page.evaluate("document.documentElement.scrollHeight")
    size = page.viewport_size or {"width": 0, "height": 0}
    tall = min(max(height, size["height"]), MOST_PX)
    page.screenshot(path=path, full_page=True, clip={"x": 0, "y": 0, "width": size["width"], "height": tall})
    _shrink(path)


def _shrink(path: Path) -> None:
    with Image.open(path) as image:
        small = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.save(path, optimize=True)


def main() -> None:
    """Read the argument and take the screenshots."""
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images")
    folder.mkdir(parents=True, exist_ok=True)
    executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
    with tempfile.TemporaryDirectory() as state, serve(Path(state)) as (url, key, database):
        pages = fill_example(database)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
            take(browser, url, key, look="light", pages=pages, folder=folder)
            for look in ("dark", "phone"):
                take(browser, url, key, look=look, pages={"search": pages["search"]}, folder=folder)
            browser.close()


if __name__ == "__main__":
    main()
