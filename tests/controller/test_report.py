"""The report of a search: whole, self-contained, and safe against what other machines have written."""

import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from analyses import make_analysis
from controllers import PlayedWorker, RunningController, run_search
from servers import RedisServer
from typer.testing import CliRunner

from paploss.cli.main import app
from paploss.client.algorithms import PpoSettings
from paploss.client.specs import ConfirmSpec, SearchSpec
from paploss.client.sync_client import Client
from paploss.controller import report
from paploss.jobs.spec import JobResult

SPEC = SearchSpec(
    name="told </script><script>alert(1)</script>",
    profile="synthetic",
    algorithm=PpoSettings(),
    mode="round",
    rounds=2,
    trials_per_round=3,
    prune=False,
    confirm=ConfirmSpec(candidates=1, seeds=2),
)
LARGEST_BYTES = 6_000_000


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory, redis_server: RedisServer) -> report.Story:
    """Of a search that has ended; one of its trials had an error."""
    folder = tmp_path_factory.mktemp("report")
    with (
        RunningController(f"sqlite:///{folder / 'test.db'}", redis_server.url, folder) as controller,
        controller.client() as client,
        controller.http("worker") as http,
    ):
        worker = PlayedWorker(http)
        experiment_id = client.create(SPEC).id
        while not (queued := list(client.trials(experiment_id, state="queued"))):
            pass
        error = "Traceback ...\nValueError: <b>bad</b> image"
        worker.finish(worker.claim(queued[0].id), JobResult(outcome="failed", error_kind="user", error=error))
        run_search(client, worker, experiment_id, make_analysis())
        return report.gather(client, experiment_id)


class Page(HTMLParser):
    """What a page asks of elsewhere, and its elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.addresses: list[str] = []
        self.tags: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]


def test_a_report_tells_everything_and_needs_nothing(story: report.Story) -> None:
    text = report.render(story)
    assert len(text.encode()) < LARGEST_BYTES
    page = Page(text)
    assert page.addresses
    assert all(address.startswith("data:image/jpeg;base64,") for address in page.addresses)
    assert not re.search(r"@import|url\(", story.figures and text[: text.index("<script>")])
    names = [drawn.name for drawn in story.figures]
    assert names[:4] == ["rewards", "functions-bbox_head", "policy", "importance"]
    assert {"error_costs", "precision_recall"} < set(names)
    assert page.tags.count("image") == 2 * 2  # pictures of two losses
    assert "<h3>best guess</h3>" in text
    assert "<td>confirm best guess</td>" in text
    assert "learning" in names
    for name in names:
        assert text.count(f'data-for="{name}"') == text.count(f'id="{name}"') == 1
    assert {"identity", "mean"} == {row.label for row in story.search.results}
    best = story.best
    assert best is not None
    assert [row.mean for row in story.search.results if row.label == best.source] == [pytest.approx(best.ap)]
    assert story.environment["torch"] == ["2.13.0"]
    assert [(failure.kind, failure.trials) for failure in story.failures] == [("user", 1)]
    assert "ValueError: &lt;b&gt;bad&lt;/b&gt; image" in text


def test_what_others_wrote_stays_text(story: report.Story) -> None:
    text = report.render(story)
    assert "alert(1)</script>" not in text
    assert Page(text).tags.count("h1") == 1


def test_the_specification_in_a_report_starts_the_same_search(story: report.Story) -> None:
    assert SearchSpec.model_validate(yaml.safe_load(story.specification)) == SPEC


def test_a_search_that_has_just_started_can_be_told(client: Client) -> None:
    story = report.gather(client, client.create(SPEC).id)
    assert story.best is None
    assert "no result yet" in report.render(story)


def test_a_long_search_shows_its_best_trials(story: report.Story, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "MOST_TRIALS", 2)
    rewards = sorted((trial.reward for trial in story.trials if trial.reward is not None), reverse=True)
    assert [trial.reward for trial in story.shown_trials] == rewards[:2]
    assert "Trials: the best 2 of" in report.render(story)


def test_the_command_writes_the_file_where_it_says(
    controller: RunningController, client: Client, tmp_path: Path
) -> None:
    experiment_id = client.create(SPEC).id
    environment = {"PAPLOSS_CONTROLLER_URL": controller.url, "PAPLOSS_KEY": controller.keys["viewer"]}
    result = CliRunner().invoke(app, ["report", experiment_id, "--state", str(tmp_path)], env=environment)
    assert result.exit_code == 0, result.stderr
    assert Path(result.stdout.strip()) == tmp_path / "reports" / f"{experiment_id}.html"
    assert Path(result.stdout.strip()).read_text().startswith("<!doctype html>")


@pytest.mark.browser
@pytest.mark.slow
def test_the_figures_become_pngs(story: report.Story, tmp_path: Path) -> None:
    if not (shutil.which("chromium") or shutil.which("google-chrome")):
        pytest.skip("no Chromium on the path")
    images = report.write_images(story.figures, tmp_path / "images")
    assert [image.stem for image in images] == [drawn.name for drawn in story.figures]
    assert all(image.read_bytes().startswith(b"\x89PNG") and image.stat().st_size > 5000 for image in images)


def test_missing_tools_for_pngs_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(report.ImagesError, match=r"install paploss\[report\]"):
        report.write_images([], tmp_path)
