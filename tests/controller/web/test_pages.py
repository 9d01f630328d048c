"""Every page, rendered over real data."""

import re
from collections.abc import Iterator
from importlib.util import find_spec

import httpx
import pytest
from controllers import PlayedWorker, RunningController, run_search
from scenarios import pass_lease
from stack import wait_until
from typer.main import get_command

from paploss.cli.main import app
from paploss.client.loss_choice import LossChoice
from paploss.client.numbers import percent
from paploss.client.specs import ComparisonSpec, ConfirmSpec, SearchSpec
from paploss.client.sync_client import Client
from paploss.controller.store.documents import OUTCOME
from paploss.controller.store.tables import Experiment
from paploss.controller.store.trials import transitions
from paploss.jobs.spec import JobResult

SMALL = SearchSpec(
    name="<b>mine</b>", profile="synthetic", rounds=1, trials_per_round=2, confirm=ConfirmSpec(candidates=1, seeds=2)
)
COMPARISON = ComparisonSpec(
    profile="synthetic",
    losses=(LossChoice(label="identity", preset="identity"),),
    seeds=(0, 1),
    learning_rates=(),
)


@pytest.fixture
def viewer(controller: RunningController) -> Iterator[httpx.Client]:
    with controller.http("viewer") as http:
        yield http


def page(http: httpx.Client, path: str) -> str:
    reply = http.get(path, headers={"Accept": "text/html"})
    assert reply.status_code == 200, reply.text
    assert reply.headers["Content-Type"].startswith("text/html")
    return reply.text


def test_without_anything_pages_say_what_to_do(viewer: httpx.Client) -> None:
    for path in ("/", "/trainings", "/workers"):
        commands = re.findall(r"<code>((?:paploss|python) [^<]+)</code>", page(viewer, path))
        assert commands
        for command in commands:
            match command.split():
                case ["paploss", name, *_]:
                    assert name in get_command(app).commands  # type: ignore[attr-defined]
                case ["python", "-m", module]:
                    assert find_spec(f"{module}.__main__")
                case _:
                    pytest.fail(f"{path} tells to type {command!r}")


def test_everything_that_is_shown_of_an_experiment_names_its_metric(
    viewer: httpx.Client, client: Client, worker: PlayedWorker
) -> None:
    search = client.create(SMALL.model_copy(update={"reward": "AP75"}))
    comparison = client.create(COMPARISON.model_copy(update={"reward": "AP75"}))
    for experiment, figure in ((search, "rewards"), (comparison, "comparison")):
        run_search(client, worker, experiment.id)
        trial = next(iter(client.trials(experiment.id)))
        assert "<dt>AP75 (%)</dt>" in page(viewer, f"/trials/{trial.id}")
        shown = page(viewer, f"/experiments/{experiment.id}")
        assert re.search("mean AP75|AP75, mean", shown)
        assert not re.search(r"\b(mean|best|on) AP\b", shown, re.IGNORECASE)
        drawn = viewer.get(f"/api/v1/experiments/{experiment.id}/figures/{figure}").text
        assert "AP75 (%)" in drawn
        assert "{x:.2f} AP<" not in drawn
        assert "{y:.2f} AP<" not in drawn
    for path in ("/", "/trainings", f"/compare?id={search.id}&id={comparison.id}"):
        assert '<span class="muted">AP75</span>' in page(viewer, path)
    assert client.comparison(comparison.id).metric == client.best(search.id).metric == "AP75"
    assert any("mean AP75" in line.message for line in client.log(search.id))


def test_a_search_that_has_just_begun(viewer: httpx.Client, client: Client) -> None:
    search = client.create(SMALL)
    client.pause(search.id)
    text = page(viewer, f"/experiments/{search.id}")
    assert "no result yet" in text
    assert "Nothing has happened" not in text
    assert "paused" in text


def test_a_search_that_has_ended(viewer: httpx.Client, client: Client, worker: PlayedWorker) -> None:
    search = client.create(SMALL)
    run_search(client, worker, search.id)
    text = page(viewer, f"/experiments/{search.id}")
    best = client.best(search.id)
    assert percent(best.ap) in text
    assert "mean ± sd of 2 fresh seeds" in text
    assert "&lt;b&gt;mine&lt;/b&gt;" in text
    assert "<b>mine</b>" not in text
    for trial in client.trials(search.id):
        assert f'href="/trials/{trial.id}"' in text
    assert f'href="/experiments/{search.id}"' in page(viewer, "/")


def test_training_with_the_found_loss_is_the_first_choice_unless_the_verdict_is_for_another(
    controller: RunningController, client: Client, worker: PlayedWorker
) -> None:
    search = client.create(SMALL)
    run_search(client, worker, search.id)
    address, first = f"/experiments/{search.id}", '<button class="primary">Train with the found loss</button>'
    with controller.http("user") as http:
        assert first in page(http, address)
        with controller.services.database.write() as session:
            row = session.get_one(Experiment, search.id)
            outcome = OUTCOME.read(row.best or {})
            assert outcome.verdict is not None
            verdict = outcome.verdict.model_copy(update={"use": "identity", "is_decided": True})
            row.best = OUTCOME.write(outcome.model_copy(update={"verdict": verdict}))
        assert "<button>Train with the found loss</button>" in page(http, address)


def test_the_trials_are_sorted_as_asked(viewer: httpx.Client, client: Client, worker: PlayedWorker) -> None:
    search = client.create(SMALL)
    run_search(client, worker, search.id)
    text = page(viewer, f"/experiments/{search.id}?sort=ap&descending=true")
    table = text[text.index('id="trial-table"') :]
    assert "confirm best guess" in table
    shown = [float(ap) for ap in re.findall(r"<b>([\d.]+)</b>", table)]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) == len(list(client.trials(search.id)))
    assert 'aria-sort="descending"><a id="sort-ap"' in table
    assert viewer.get(f"/experiments/{search.id}?sort=nothing").status_code == 422


def test_long_tables_come_in_pages(viewer: httpx.Client, client: Client) -> None:
    training = client.create(COMPARISON.model_copy(update={"seeds": tuple(range(60))}))
    first = page(viewer, f"/experiments/{training.id}")
    assert "1–25 of 60" in first
    following = re.search(r'id="next" rel="next" href="([^"#]+)', first)
    assert following
    assert "26–50 of 60" in page(viewer, following[1].replace("&amp;", "&"))
    assert "51–60 of 60" in page(viewer, f"/experiments/{training.id}?offset=9000")


def test_a_trial_shows_its_error_its_log_and_its_attempts(
    viewer: httpx.Client, client: Client, worker: PlayedWorker
) -> None:
    training = client.create(COMPARISON)
    trial = next(client.trials(training.id))
    assert "Nothing has been evaluated yet" in page(viewer, f"/trials/{trial.id}")
    lease = worker.claim(trial.id)
    worker.renew(lease, 0.1, log_tail="</pre><script>alert(1)</script>")
    worker.finish(lease, JobResult(outcome="failed", error_kind="user", error="no <i>images</i>"))
    text = page(viewer, f"/trials/{trial.id}")
    assert "no &lt;i&gt;images&lt;/i&gt;" in text
    assert "&lt;/pre&gt;&lt;script&gt;" in text
    assert "<script>alert" not in text
    assert "/figures/learning" in text
    assert "node-1" in text


def test_results_of_a_comparison(viewer: httpx.Client, client: Client, worker: PlayedWorker) -> None:
    training = client.create(COMPARISON)
    for trial in client.trials(training.id):
        worker.run(trial.id)
    (row,) = client.get_experiment(training.id).results
    assert row.mean is not None
    assert percent(row.mean) in page(viewer, f"/experiments/{training.id}")
    assert training.id in page(viewer, "/trainings")


def test_a_comparison_without_results_yet_says_that_it_is_checking_rates(
    viewer: httpx.Client, client: Client, worker: PlayedWorker
) -> None:
    checked = client.create(COMPARISON.model_copy(update={"learning_rates": (1.0, 2.0)}))
    explanation = "trained briefly at several learning rates"
    assert explanation in page(viewer, f"/experiments/{checked.id}")
    for trial in client.trials(checked.id):
        worker.run(trial.id)
    wait_until(lambda: client.get_experiment(checked.id).stage == "trainings", "the rates are chosen")
    assert explanation not in page(viewer, f"/experiments/{checked.id}")


def test_workers(viewer: httpx.Client, client: Client, worker: PlayedWorker) -> None:
    trial = next(client.trials(client.create(COMPARISON).id))
    worker.claim(trial.id)
    text = page(viewer, "/workers")
    assert "busy" in text
    assert f"/trials/{trial.id}" in text


def test_one_waiting_trial_is_one_and_a_worker_without_one_is_idle(
    viewer: httpx.Client, client: Client, worker: PlayedWorker
) -> None:
    worker.run(next(client.trials(client.create(COMPARISON).id)).id)
    for path in ("/", "/workers"):
        assert ">1 trial waiting<" in page(viewer, path)
    assert ">idle<" in page(viewer, "/workers")


def test_buttons_are_for_those_who_may_press_them(controller: RunningController, client: Client) -> None:
    search = client.create(SMALL)
    for role, pause in (("viewer", False), ("user", True), ("admin", True)):
        with controller.http(role) as http:
            assert ("/pause" in page(http, f"/experiments/{search.id}")) == pause
    client.cancel(search.id)
    for role, delete in (("viewer", False), ("user", False), ("admin", True)):
        with controller.http(role) as http:
            assert ('data-method="DELETE"' in page(http, f"/experiments/{search.id}")) == delete


def test_pages_load_nothing_from_elsewhere_and_no_inline_script(viewer: httpx.Client, client: Client) -> None:
    search = client.create(SMALL)
    for path in ("/", f"/experiments/{search.id}", "/workers", "/trainings", "/sign-in"):
        text = page(viewer, path)
        assert "http://" not in text
        assert "https://" not in text
        assert not re.search(r"<script(?![^>]*\bsrc=)", text)
        assert not re.search(r"\son\w+=", text)
        for address in re.findall(r'(?:src|href)="(/static/[^"]+)"', text):
            assert viewer.get(address).status_code == 200


def test_a_result_that_came_too_late_is_shown_and_does_not_count(
    controller: RunningController, viewer: httpx.Client, client: Client, worker: PlayedWorker
) -> None:
    trial = next(client.trials(client.create(COMPARISON).id))
    late = worker.claim(trial.id)
    pass_lease(controller.services.database, trial.id)
    with controller.services.database.write() as session:
        transitions.expire(session, trial.id)
    worker.finish(worker.claim(trial.id), JobResult(outcome="succeeded", reward=0.25))
    with pytest.raises(httpx.HTTPStatusError, match="409"):
        worker.finish(late, JobResult(outcome="succeeded", reward=0.9))
    shown = client.get_trial(trial.id)
    assert (shown.reward, [result.reward for result in shown.late_results]) == (0.25, [0.9])
    assert "delivered a reward of 90.0" in page(viewer, f"/trials/{trial.id}")


def test_a_trial_that_has_ended_promises_nothing(viewer: httpx.Client, client: Client) -> None:
    search = client.create(SMALL)
    while not (found := list(client.trials(search.id))):
        pass
    assert "The log appears here when the attempt ends" in page(viewer, f"/trials/{found[0].id}")
    client.cancel(search.id)
    ended = page(viewer, f"/trials/{found[0].id}")
    assert " yet" not in ended
    assert "No log of this trial is kept." in ended


def test_searches_are_found_by_what_their_list_shows(viewer: httpx.Client, client: Client) -> None:
    for name in ("cells 50%", "cells"):
        client.create(SMALL.model_copy(update={"name": name}))
    everything = page(viewer, "/")
    assert "digits" in everything
    found = page(viewer, "/?text=50%25")
    assert ("cells 50%</a>" in found, "cells</a>" in found) == (True, False)
    assert "No search matches the filter." in page(viewer, "/?text=cells&state=paused")
    assert viewer.get("/?state=lost", headers={"Accept": "text/html"}).status_code == 422


def test_a_search_without_a_result_draws_nothing_and_says_why_it_failed(
    viewer: httpx.Client, client: Client, worker: PlayedWorker
) -> None:
    search = client.create(SMALL)
    assert "data-figure" not in page(viewer, f"/experiments/{search.id}")
    while len(found := list(client.trials(search.id))) < 2:
        pass
    for trial in found:
        worker.finish(worker.claim(trial.id), JobResult(outcome="failed", error_kind="user", error="no such <file>"))
    client.wait(search.id, poll_seconds=0.05)
    text = page(viewer, f"/experiments/{search.id}")
    assert "0 with a result; it ended early" in text
    assert "there is nothing to draw" in text
    assert "no such &lt;file&gt;" in page(viewer, "/")


def test_trials_lead_to_their_neighbours_and_words_are_explained(viewer: httpx.Client, client: Client) -> None:
    search = client.create(SMALL)
    while len(found := list(client.trials(search.id))) < 2:
        pass
    first, last = (page(viewer, f"/trials/{trial.id}") for trial in found)
    assert (f'rel="next" href="/trials/{found[1].id}"' in first, 'rel="prev"' in first) == (True, False)
    assert (f'rel="prev" href="/trials/{found[0].id}"' in last, 'rel="next"' in last) == (True, False)
    words = page(viewer, "/words")
    shown = page(viewer, f"/experiments/{search.id}")
    assert all(f'id="{anchor}"' in words for anchor in re.findall(r'href="/words#([^"]+)"', shown))
    assert 'href="/"' in page(viewer, "/docs")


def test_pages_say_how_far_a_trial_trains_and_what_it_continues(
    viewer: httpx.Client, client: Client, worker: PlayedWorker
) -> None:
    lengths = {"fractions": [0.5, 1], "keep": 2}
    confirm = ConfirmSpec(candidates=1, seeds=1)
    search = client.create(
        SearchSpec(profile="synthetic", rounds=2, trials_per_round=2, lengths=lengths, confirm=confirm)
    )
    run_search(client, worker, search.id)
    found = client.get_experiment(search.id)
    assert [(row.length, row.trials, row.succeeded) for row in found.lengths] == [(0.5, 4, 4), (1.0, 2, 2)]
    longer = next(trial for trial in client.trials(search.id) if trial.continues is not None)
    shorter = client.get_trial(longer.continues or "")
    assert (shorter.length, longer.length) == (0.5, 1.0)
    assert "length 0.5" in page(viewer, f"/trials/{shorter.id}")
    assert f'continues <a href="/trials/{shorter.id}">trial {shorter.number}</a>' in page(
        viewer, f"/trials/{longer.id}"
    )
    shown = page(viewer, f"/experiments/{search.id}")
    assert "by length 0.5: 4, 1: 2" in shown
    assert f', length 1, continues <a href="/trials/{shorter.id}">{shorter.number}</a>' in shown
    drawn = viewer.get(f"/api/v1/experiments/{search.id}/figures/rewards").json()
    assert shorter.id not in str(drawn)
    assert longer.id in str(drawn)


def test_while_no_training_is_whole_a_search_has_no_best_and_no_figures(
    viewer: httpx.Client, client: Client, worker: PlayedWorker
) -> None:
    search = client.create(SearchSpec(profile="synthetic", lengths={"fractions": [0.5, 1], "keep": 2}))
    while not (queued := list(client.trials(search.id, state="queued"))):
        pass
    worker.run(queued[0].id)
    assert client.get_experiment(search.id).best_ap is None
    assert "drawn here after the first trial" in page(viewer, f"/experiments/{search.id}")
