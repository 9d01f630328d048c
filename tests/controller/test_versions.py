"""Documents and messages of other versions: those of 0.1.0 as they are, and those of a made-up next version."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest
from controllers import PlayedWorker, RunningController, run_search
from sqlalchemy import func, select, update

from paploss.client import Client, SearchSpec
from paploss.client.documents import SPEC
from paploss.client.loss_choice import LossChoice
from paploss.client.specs import TrainingSpec
from paploss.controller.api.app import list_operations
from paploss.controller.store.database import Database
from paploss.controller.store.tables import Attempt, Evaluation, Experiment, Round, Trial
from paploss.jobs.lease import PROTOCOL, PROTOCOL_HEADER, ClaimRequest, WorkerInfo
from paploss.jobs.losses import ParameterizedAP
from paploss.jobs.presets import PRESETS

OLD = Path(__file__).parents[1] / "fixtures" / "0.1.0"
OLD_DUMPS = sorted(OLD.glob("*.jsonl.gz"))
STRANGE_KEYS = {"schema_version": 9, "of_the_future": {"deep": [1, None]}}


def load(running: RunningController, file: Path) -> str:
    with running.client("admin") as admin:
        return admin.load(file.read_bytes()).id


def read_everything(running: RunningController, experiment_id: str, trial_ids: list[str]) -> None:
    """Ask every reading operation and every page about an experiment: none may answer that it has a defect."""
    names = {"name": ["rewards", "functions", "policy", "importance", "gpus", "comparison", "learning", "breakdown"]}
    values = {"experiment_id": [experiment_id], "trial_id": trial_ids} | names
    with running.http("admin") as http:
        for operation in list_operations():
            method, path = operation.split()
            if method != "GET" or path.endswith("/events") or "static" in path:
                continue
            for address in fill_in(path, values):
                query = {"clone": experiment_id} if address == "/experiments/new" else {}
                if address == "/compare":
                    query = {"first": experiment_id, "second": experiment_id}
                reply = http.get(address, params=query)
                assert reply.status_code in (200, 303, 404, 409, 422), f"{address}: {reply.status_code} {reply.text}"
        for address in ("/", "/trainings", f"/experiments/{experiment_id}", *(f"/trials/{each}" for each in trial_ids)):
            assert http.get(address).status_code == 200, address
        for address in ("/api/v1/experiments", f"/api/v1/experiments/{experiment_id}"):
            assert experiment_id in http.get(address).text


def fill_in(path: str, values: dict[str, list[str]]) -> Iterator[str]:
    for name, choices in values.items():
        if f"{{{name}}}" in path:
            for choice in choices:
                yield from fill_in(path.replace(f"{{{name}}}", choice), values)
            return
    yield path


def trial_ids_of(database: Database, experiment_id: str) -> list[str]:
    """One trial of each state."""
    with database.read() as session:
        its = select(func.min(Trial.id)).where(Trial.experiment_id == experiment_id).group_by(Trial.state)
        return list(session.scalars(its))


# Of version 0.1.0


@pytest.mark.parametrize("file", OLD_DUMPS, ids=lambda file: file.name.partition(".")[0])
def test_every_page_and_answer_shows_what_version_0_1_0_has_stored(controller: RunningController, file: Path) -> None:
    experiment_id = load(controller, file)
    read_everything(controller, experiment_id, trial_ids_of(controller.services.database, experiment_id))


@pytest.mark.parametrize("name", ["running-search", "running-comparison"])
def test_what_version_0_1_0_has_begun_goes_on_to_its_end(
    controller: RunningController, client: Client, worker: PlayedWorker, name: str
) -> None:
    experiment_id = load(controller, OLD / f"{name}.jsonl.gz")
    before = {trial.id: trial.reward for trial in client.trials(experiment_id) if trial.reward is not None}
    client.resume(experiment_id)
    with controller.services.database.write() as session:  # whoever ran them is gone
        session.execute(update(Trial).where(Trial.state == "running").values(state="queued"))
    run_search(client, worker, experiment_id)
    assert client.get_experiment(experiment_id).state == "succeeded"
    after = {trial.id: trial.reward for trial in client.trials(experiment_id)}
    assert {trial_id: after[trial_id] for trial_id in before} == before
    assert all(client.get_trial(trial_id).loss is not None for trial_id in after)


def test_what_a_trial_of_version_0_1_0_trains_with_is_fixed_by_its_first_claim(
    controller: RunningController, client: Client, worker: PlayedWorker
) -> None:
    experiment_id = load(controller, OLD / "running-search.jsonl.gz")
    client.resume(experiment_id)
    (queued, *_) = client.trials(experiment_id, state="queued")
    job = worker.claim(queued.id).job
    with controller.services.database.read() as session:
        trial = session.get_one(Trial, queued.id)
        assert trial.loss == job.loss.model_dump(mode="json")
        assert trial.plan is not None


def test_messages_of_a_worker_of_version_0_1_0_are_taken(controller: RunningController, client: Client) -> None:
    messages = json.loads((OLD / "messages.json").read_text())
    search = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2))
    trial_id = next(wait_for_trials(client, search.id)).id
    with controller.http("worker") as http:
        lease = post(http, "claim", messages["claim"] | {"trial_id": trial_id})
        assert lease.keys() == messages["lease"].keys()
        assert lease["job"].keys() == messages["lease"]["job"].keys()
        told = {"trial_id": trial_id, "token": lease["token"]}
        assert post(http, "renew", messages["renew"] | told) == {"command": "continue"}
        assert post(http, "result", messages["result"] | told) == {"state": "succeeded"}


# Of protocol 2


def test_an_older_worker_gets_no_loss_whose_parameters_it_would_leave_out(
    controller: RunningController, client: Client
) -> None:
    heads = {"bbox_head": PRESETS["retinanet"].heads["bbox_head"].model_copy(update={"l1_weight": 0.5})}
    losses = (LossChoice(preset="published"), LossChoice(label="L1", loss=ParameterizedAP(heads=heads)))
    experiment = client.create(TrainingSpec(profile="synthetic", losses=losses))
    plain, extended = client.trials(experiment.id, state="queued")

    def claim(trial_id: str, protocol: int) -> httpx.Response:
        message = ClaimRequest(claim_id=uuid4(), trial_id=trial_id, worker=WorkerInfo(name="old"))
        with controller.http("worker") as http:
            body = message.model_dump(mode="json")
            return http.post("/api/v1/leases/claim", json=body, headers={PROTOCOL_HEADER: str(protocol)})

    refused = claim(extended.id, protocol=2)
    assert refused.status_code == 409
    assert (
        "needs a worker of protocol 3 or newer for its loss, its reward (AP) or its length (1), and old speaks 2"
        in refused.text
    )
    assert (client.get_trial(extended.id).state, client.get_trial(extended.id).attempts) == ("queued", 0)
    assert claim(plain.id, protocol=2).json()["job"]["loss"] == PRESETS["retinanet"].model_dump(mode="json")
    assert claim(extended.id, protocol=3).json()["job"]["loss"]["heads"]["bbox_head"]["l1_weight"] == 0.5


# Of a made-up next version


def post(http: httpx.Client, step: str, message: dict[str, Any]) -> dict[str, Any]:
    reply = http.post(f"/api/v1/leases/{step}", json=message)
    assert reply.is_success, reply.text
    assert reply.headers[PROTOCOL_HEADER] == str(PROTOCOL)
    return dict(reply.json())


def wait_for_trials(client: Client, experiment_id: str) -> Iterator[Any]:
    while not (queued := list(client.trials(experiment_id, state="queued"))):
        time.sleep(0.01)
    return iter(queued)


def deep(message: Any) -> Any:
    """A message with a field that nobody knows in each of its objects (but maps, whose keys are anybody's)."""
    if isinstance(message, list):
        return [deep(item) for item in message]
    if not isinstance(message, dict):
        return message
    maps = ("versions", "environment", "per_class")
    changed = {name: value if name in maps else deep(value) for name, value in message.items()}
    return changed | {"of_the_future": {"deep": 1}}


def test_fields_that_this_version_does_not_know_are_ignored_in_messages(
    controller: RunningController, client: Client
) -> None:
    messages = json.loads((OLD / "messages.json").read_text())
    search = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2))
    first, second, *_ = wait_for_trials(client, search.id)
    with controller.http("worker") as http:
        lease = post(http, "claim", deep(messages["claim"] | {"trial_id": first.id}))
        told = {"trial_id": first.id, "token": lease["token"]}
        assert post(http, "renew", deep(messages["renew"] | told)) == {"command": "continue"}
        assert post(http, "result", deep(messages["result"] | told)) == {"state": "succeeded"}
        again = messages["claim"] | {"trial_id": second.id, "claim_id": "0" * 32}
        token = post(http, "claim", deep(again))["token"]
        released = messages["release"] | {"trial_id": second.id, "token": token}
        assert post(http, "release", deep(released)) == {"state": "queued"}
    detail = client.get_trial(first.id)
    assert (detail.state, detail.reward) == ("succeeded", messages["result"]["result"]["reward"])


STRANGE_SPECS: dict[str, dict[str, Any]] = {
    "unknown keys": STRANGE_KEYS,
    "unknown algorithm": STRANGE_KEYS | {"algorithm": {"name": "of the future", "depth": 3}},
    "unknown profile": STRANGE_KEYS | {"profile": "of-the-future"},
    "unknown kind": STRANGE_KEYS | {"kind": "of the future"},
}


@pytest.mark.parametrize("file", OLD_DUMPS, ids=lambda file: file.name.partition(".")[0])
def test_every_page_and_answer_shows_what_a_next_version_has_stored(controller: RunningController, file: Path) -> None:
    experiment_id = load(controller, file)
    database = controller.services.database
    trial_ids = trial_ids_of(database, experiment_id)
    spec = spec_of(database, experiment_id)
    for changes in STRANGE_SPECS.values():
        make_strange(database, experiment_id, spec | changes)
        read_everything(controller, experiment_id, trial_ids)


def spec_of(database: Database, experiment_id: str) -> dict[str, Any]:
    """An experiment's request, as this version stores it."""
    with database.read() as session:
        return SPEC.write(SPEC.read(session.get_one(Experiment, experiment_id).spec))


def make_strange(database: Database, experiment_id: str, spec: dict[str, Any]) -> None:
    """Rewrite an experiment as a next version might have stored it."""
    with database.write() as session:
        experiment = session.get_one(Experiment, experiment_id)
        experiment.spec = spec
        experiment.profile = experiment.spec["profile"]
        experiment.kind = "search" if experiment.kind == "search" else experiment.kind
        if experiment.best is not None:
            experiment.best = experiment.best | STRANGE_KEYS | {"loss": {"name": "of the future"}}
        for trial in session.scalars(select(Trial).where(Trial.experiment_id == experiment_id)):
            trial.plan = {"schedule": "of the future"} | STRANGE_KEYS
            trial.loss = {"name": "of the future"} | STRANGE_KEYS
            trial.metrics = None if trial.metrics is None else trial.metrics | STRANGE_KEYS
        for version in session.scalars(select(Round).where(Round.experiment_id == experiment_id)):
            version.state, version.centre, version.spread = {"tree": [1]} | STRANGE_KEYS, None, None
        its = select(Trial.id).where(Trial.experiment_id == experiment_id)
        for evaluation in session.scalars(select(Evaluation).where(Evaluation.trial_id.in_(its))):
            evaluation.metrics = evaluation.metrics | STRANGE_KEYS
        for attempt in session.scalars(select(Attempt).where(Attempt.trial_id.in_(its))):
            attempt.environment = attempt.environment | {"of the future": "1"}


def test_what_cannot_be_run_waits_says_why_and_holds_up_no_other(
    controller: RunningController, client: Client, worker: PlayedWorker
) -> None:
    strange = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2))
    trials = list(wait_for_trials(client, strange.id))
    database = controller.services.database
    make_strange(database, strange.id, spec_of(database, strange.id) | STRANGE_SPECS["unknown algorithm"])
    healthy = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2, confirm={"seeds": 1}))
    run_search(client, worker, healthy.id)
    assert client.get_experiment(healthy.id).state == "succeeded"
    assert client.get_experiment(strange.id).state == "running"
    told = [line.message for line in client.log(strange.id) if line.kind == "experiment_unreadable"]
    assert len(told) == 1
    assert "of the future" in told[0]
    with controller.http("worker") as http:
        message = {"claim_id": "1" * 32, "trial_id": trials[0].id, "worker": {"name": "w1"}}
        refused = http.post("/api/v1/leases/claim", json=message)
    assert refused.status_code == 409
    assert "can make no job" in refused.json()["detail"]
    assert client.get_trial(trials[0].id).state == "queued"
    assert client.pause(strange.id).state == "paused"
    assert client.cancel(strange.id).state == "cancelled"


def test_a_worker_that_knows_ap_alone_gets_no_trial_of_another_reward(
    controller: RunningController, client: Client
) -> None:
    search = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2, reward="AP75"))
    trial_id = next(wait_for_trials(client, search.id)).id
    message = {"claim_id": "1" * 32, "trial_id": trial_id, "worker": {"name": "w1"}}
    with controller.http("worker") as http:
        for headers in ({}, {PROTOCOL_HEADER: "2"}):
            refused = http.post("/api/v1/leases/claim", json=message, headers=headers)
            assert refused.status_code == 409
            assert (
                "needs a worker of protocol 3 or newer for its loss, its reward (AP75) or its length (1)"
                in refused.json()["detail"]
            )
            assert client.get_trial(trial_id).state == "queued"
        granted = http.post("/api/v1/leases/claim", json=message, headers={PROTOCOL_HEADER: "3"})
    assert granted.json()["job"]["reward"] == "AP75"


def test_a_worker_that_knows_no_lengths_gets_none_but_whole_trials(
    controller: RunningController, client: Client
) -> None:
    lengths = {"fractions": [0.5, 1], "keep": 2}
    search = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2, lengths=lengths))
    trial_id = next(wait_for_trials(client, search.id)).id
    message = {"claim_id": "1" * 32, "trial_id": trial_id, "worker": {"name": "w1"}}
    with controller.http("worker") as http:
        refused = http.post("/api/v1/leases/claim", json=message, headers={PROTOCOL_HEADER: "3"})
        assert refused.status_code == 409
        assert "needs a worker of protocol 4 or newer" in refused.json()["detail"]
        granted = http.post("/api/v1/leases/claim", json=message, headers={PROTOCOL_HEADER: "4"})
    assert granted.json()["job"]["length"] == 0.5


def test_unknown_keys_alone_keep_nothing_from_running(
    controller: RunningController, client: Client, worker: PlayedWorker
) -> None:
    search = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2, confirm={"seeds": 1}))
    wait_for_trials(client, search.id)
    with controller.services.database.write() as session:
        experiment = session.get_one(Experiment, search.id)
        experiment.spec = experiment.spec | {"of_the_future": 1}
        for trial in session.scalars(select(Trial).where(Trial.experiment_id == search.id)):
            trial.plan, trial.loss = (
                document and document | {"of_the_future": 1} for document in (trial.plan, trial.loss)
            )
    run_search(client, worker, search.id)
    assert client.get_experiment(search.id).state == "succeeded"
