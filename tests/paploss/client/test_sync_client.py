"""The project's own client, against a running controller."""

import socket
import threading

import pytest
from controllers import PlayedWorker, RunningController

from paploss.client.loss_choice import LossChoice
from paploss.client.models import ExperimentSummary
from paploss.client.specs import SearchSpec, TrainingSpec
from paploss.client.sync_client import ApiError, Client, UnreachableError
from paploss.client.sync_session import PAGE
from paploss.controller.api.server import bind

TWO_SEEDS = TrainingSpec(profile="synthetic", losses=(LossChoice(label="a", preset="identity"),), seeds=(0, 1))


def test_a_refusal_carries_the_problems_words_and_fields(client: Client) -> None:
    unsound = SearchSpec.model_construct(profile="synthetic", rounds=-1)
    with pytest.raises(ApiError, match="rounds") as caught:
        client.create(unsound)
    assert (caught.value.status, caught.value.field) == (422, "/rounds")
    with pytest.raises(ApiError, match="no experiment 0nothing") as caught:
        client.get_experiment("0nothing")
    assert (caught.value.status, caught.value.title, caught.value.field) == (404, "Not Found", None)


@pytest.mark.parametrize("typed", ["", ".", "..", "../keys", "x//y"])
def test_an_id_that_is_none_leads_to_no_other_place(client: Client, typed: str) -> None:
    with pytest.raises(ApiError, match="there is nothing at /api/v1/experiments/") as caught:
        client.get_experiment(typed)
    assert caught.value.status == 404


def test_an_answer_of_another_kind_is_told_in_one_line(client: Client) -> None:
    training = client.create(TWO_SEEDS)
    with pytest.raises(UnreachableError, match=r"/trials is not a controller of this version: id: .+\Z"):
        client.get_experiment(f"{training.id}/trials")


def test_a_wrong_key_is_an_api_error(controller: RunningController) -> None:
    with Client(controller.url, "paploss_wrong") as client, pytest.raises(ApiError, match="API key") as caught:
        client.status()
    assert caught.value.status == 401


def test_lists_go_on_over_pages(client: Client) -> None:
    seeds = tuple(range(PAGE + 5))
    training = client.create(TWO_SEEDS.model_copy(update={"seeds": seeds}))
    assert [trial.seed for trial in client.trials(training.id)] == list(seeds)
    client.cancel(training.id)
    assert len(list(client.trials(training.id, state="cancelled"))) == len(seeds)


def test_waiting_tells_of_every_change_and_returns_at_the_end(client: Client, worker: PlayedWorker) -> None:
    training = client.create(TWO_SEEDS)
    told: list[ExperimentSummary] = []

    def on_change(run: ExperimentSummary) -> None:
        told.append(run)
        for trial in client.trials(training.id, state="queued"):
            worker.run(trial.id)
            return

    assert client.wait(training.id, on_change, poll_seconds=0.01).state == "succeeded"
    assert [run.trials_final for run in told if run.state == "running"][:2] == [0, 1]
    assert told[-1].state == "succeeded"


def test_the_log_goes_on_after_a_line(client: Client) -> None:
    training = client.create(TWO_SEEDS)
    client.cancel(training.id)
    first, *rest = client.log(training.id)
    assert first.kind == "experiment_started"
    assert list(client.log(training.id, after=first.id)) == rest


def test_no_controller_is_said_with_its_address() -> None:
    with bind("127.0.0.1", 0) as closed:
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
    with Client(url, "key", attempts=1) as client, pytest.raises(UnreachableError, match=url):
        client.status()


def test_something_else_at_the_address_is_said() -> None:
    with _AnsweringOnce(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nwelcome"[:-1]) as url:  # noqa: SIM117
        with Client(url, "key", attempts=1) as client, pytest.raises(UnreachableError, match="not a controller"):
            client.status()


def test_a_proxys_error_page_is_told_by_its_status() -> None:
    with _AnsweringOnce(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 4\r\n\r\noops") as url:  # noqa: SIM117
        with Client(url, "key", attempts=1) as client, pytest.raises(ApiError, match="502 Bad Gateway"):
            client.status()


def test_a_request_is_repeated_until_it_is_answered(controller: RunningController) -> None:
    with _AnsweringOnce(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n") as url:  # noqa: SIM117
        with Client(url, "key", attempts=2) as client, pytest.raises(UnreachableError):
            client.status()  # the second attempt finds nobody: so there was one
    with controller.client() as client:
        assert client.status().workers_live == 0


class _AnsweringOnce:
    """A server that gives one connection one answer and then is gone."""

    def __init__(self, answer: bytes) -> None:
        self._listener = bind("127.0.0.1", 0)
        self._answer = answer
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> str:
        self._thread.start()
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __exit__(self, *_: object) -> None:
        self._thread.join()

    def _serve(self) -> None:
        with self._listener, self._listener.accept()[0] as connection:
            connection.recv(65536)
            connection.sendall(self._answer)
            connection.shutdown(socket.SHUT_WR)
            connection.recv(65536)
