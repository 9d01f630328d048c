"""Takes the screenshots of docs/images from a running controller.

    python docs/make_screenshots.py URL KEY SEARCH_ID [FOLDER]

Needs playwright (an extra of `dev`) and a Chromium; CHROMIUM names its executable if it is not /usr/bin/chromium.
"""

import os
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def take(browser: Browser, url: str, key: str, search_id: str, folder: Path) -> None:
    """The search's page in light and dark and on a phone, its best trial, the list of searches, and the workers."""
    looks = {
        "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 1180}},
        "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 1180}},
        "phone": {"color_scheme": "light", "viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
    }
    for look, options in looks.items():
        page = browser.new_page(**options)
        page.goto(f"{url}/sign-in")
        page.screenshot(path=folder / f"sign-in-{look}.png")
        page.fill("#key", key)
        page.click("button.primary")
        trials = page.request.get(f"{url}/api/v1/searches/{search_id}/trials?state=succeeded&limit=1").json()
        paths = {
            "searches": "/",
            "search": f"/searches/{search_id}",
            "trial": f"/trials/{trials['items'][0]['id']}",
            "workers": "/workers",
            "trainings": "/trainings",
        }
        for name, path in paths.items():
            page.goto(url + path)
            if name in ("search", "trial"):
                page.wait_for_selector(".figure .legendtext")
            page.wait_for_timeout(300)
            page.screenshot(path=folder / f"{name}-{look}.png", full_page=name == "trial")
        page.close()


def main() -> None:
    """Read the arguments and take the screenshots."""
    url, key, search_id, *rest = sys.argv[1:]
    folder = Path(rest[0] if rest else "docs/images")
    folder.mkdir(parents=True, exist_ok=True)
    with sync_playwright() as playwright:
        executable = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=executable, args=FLAGS)
        take(browser, url.rstrip("/"), key, search_id, folder)
        browser.close()


if __name__ == "__main__":
    main()
