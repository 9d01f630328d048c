"""A report whose names were chosen by somebody hostile, opened in a real browser as the file that it is."""

from pathlib import Path

import pytest
from analyses import make_analysis, make_picture
from browsers import Visitor
from controllers import PlayedWorker, RunningController, run_search
from scenarios import search_spec

from paploss.client import Client
from paploss.controller import report
from paploss.jobs.spec import JobResult

pytestmark = pytest.mark.browser

HOSTILE = "</script></style><img src=x onerror=pwned=1><a href='javascript:pwned=1'>a</a><!--{{7*7}}\u202e"


@pytest.mark.slow
def test_hostile_names_run_nothing_and_ask_nothing_of_elsewhere(
    controller: RunningController, client: Client, worker: PlayedWorker, visitor: Visitor, tmp_path: Path
) -> None:
    worker.info = worker.info.model_copy(update={"name": HOSTILE[:100], "host": HOSTILE, "device": HOSTILE})
    search = client.create(
        search_spec(name=HOSTILE, rounds=2, trials_per_round=2, confirm={"seeds": 1, "candidates": 1})
    )
    while not (queued := list(client.trials(search.id, state="queued"))):
        pass
    failure = JobResult(outcome="failed", error_kind="user", error=HOSTILE)
    worker.finish(worker.claim(queued[0].id), failure)
    picture = make_picture(name=HOSTILE[:40], file_name=HOSTILE[:100])
    run_search(client, worker, search.id, make_analysis().model_copy(update={"pictures": (picture,)}))
    file = tmp_path / "report.html"
    file.write_text(report.render(report.gather(client, search.id)))
    page = visitor.open("about:blank")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(file.as_uri())
    page.locator(".js-plotly-plot .xtick").first.wait_for()
    assert page.evaluate("typeof pwned") == "undefined"
    assert page.locator("[onerror], a[href^='javascript']").count() == 0
    assert "<img src=x onerror" in page.locator("h1").inner_text()
    hit = page.locator(".picture .detection.hit").first
    assert hit.get_attribute("hidden") is None
    page.locator("input[data-threshold]").first.fill("0.9")
    assert hit.get_attribute("hidden") is None
    assert "<img" in page.locator(".picture title").first.text_content()
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
