"""`paploss check`, as `helm test` runs it: each part that fails is named with its reason."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import yaml
from controllers import PlayedWorker, RunningController, run_search
from typer.testing import CliRunner

from paploss.cli.failures import FAILED
from paploss.cli.main import app
from paploss.client.specs import SearchSpec

NOWHERE = "127.0.0.1:9"
SPEC = "{profile: synthetic, rounds: 1, trials_per_round: 2, confirm: {candidates: 1, seeds: 1}}"
Check = Callable[..., Any]


@pytest.fixture
def controller(sqlite_url: str, redis_url: str, tmp_path: Path) -> Iterator[RunningController]:
    with RunningController(sqlite_url, redis_url, tmp_path / "state") as running, running.http() as http:
        while http.get("/readyz").status_code != 200:
            pass  # until the first tick has made a leader
        yield running


@pytest.fixture
def check(controller: RunningController, sqlite_url: str, redis_url: str, tmp_path: Path) -> Check:
    """Runs the command with the controller's own settings, changed as given; None leaves a setting out."""
    secrets = tmp_path / "secrets"
    secrets.mkdir()

    def run(*arguments: str, **changes: str | None) -> Any:
        given = {"database_url": sqlite_url, "redis_url": redis_url, "admin_key": controller.keys["admin"]} | changes
        environment = {f"PAPLOSS_{name.upper()}": value for name, value in given.items()}
        environment |= {"PAPLOSS_SECRETS_DIR": str(secrets), "PAPLOSS_CONTROLLER_URL": controller.url}
        return CliRunner().invoke(app, ["check", "--patience-seconds", "0", *arguments], env=environment)

    return run


@pytest.fixture
def refusing_cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An API server that lets nobody set the owner of a pod, as OpenShift does for those who may not delete it."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.answer(200, {"metadata": {"uid": "1"}})

        def do_PATCH(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.answer(403, {"message": "cannot set an ownerRef on a resource you can't delete"})

        def answer(self, status: int, content: dict[str, Any]) -> None:
            body = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        named = {"cluster": {"server": f"http://127.0.0.1:{server.server_port}"}, "name": "a"}
        context = {"context": {"cluster": "a", "user": "a"}, "name": "a"}
        given = {"clusters": [named], "users": [{"name": "a", "user": {}}], "contexts": [context]}
        (tmp_path / "kubeconfig").write_text(yaml.safe_dump(given | {"current-context": "a"}))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        # The client has read the variable when it was imported.
        monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "kubeconfig"))
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield
        server.shutdown()
        thread.join()


@pytest.mark.usefixtures("refusing_cluster")
def test_a_pod_that_cannot_go_with_its_release_is_a_line_and_not_the_result(check: Check) -> None:
    result = check("--release", "demo", "--pod", "demo-test")
    assert result.exit_code == 0, result.stderr
    refusal = "403 cannot set an ownerRef on a resource you can't delete"
    assert f"cannot have pod demo-test deleted with its release: {refusal}\n" in result.output
    assert "secrets, database, Redis and controller: ok" in result.output


def test_parts_that_work_are_told(check: Check) -> None:
    result = check()
    assert result.exit_code == 0, result.stderr
    assert "secrets, database, Redis and controller: ok" in result.output


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"database_url": None}, "secret: PAPLOSS_DATABASE_URL is not set"),
        ({"admin_key": None}, "paploss_admin_key is not there either"),
        ({"database_url": f"postgresql://me:hidden@{NOWHERE}/x"}, "database: connection failed"),
        ({"database_url": "nonsense"}, "database: Could not parse"),
        ({"redis_url": f"redis://:hidden@{NOWHERE}/0"}, "redis: "),
    ],
)
def test_what_is_missing_or_unreachable_is_named(check: Check, changes: dict[str, str | None], fault: str) -> None:
    result = check(**changes)
    assert result.exit_code == FAILED
    assert fault in result.stderr
    assert "hidden" not in result.stderr


def test_a_missing_setting_is_not_waited_for(check: Check) -> None:
    """It would last as long as the patience, beyond every limit of a test."""
    result = check("--patience-seconds", "86400", redis_url=None)
    assert result.exit_code == FAILED
    assert "PAPLOSS_REDIS_URL is not set" in result.stderr


def test_what_is_waited_for_is_told_once(check: Check) -> None:
    result = check("--patience-seconds", "0.3", "--url", f"http://{NOWHERE}")
    assert result.exit_code == FAILED
    assert result.stdout.count("waiting: controller: ") == 1


def test_a_controller_that_does_not_answer_is_named(check: Check) -> None:
    result = check("--url", f"http://{NOWHERE}")
    assert result.exit_code == FAILED
    assert f"controller: http://{NOWHERE} does not answer" in result.stderr


def test_a_search_that_no_worker_takes_ends_with_what_is_in_the_way(check: Check, tmp_path: Path) -> None:
    (tmp_path / "spec.yaml").write_text(SPEC)
    result = check(str(tmp_path / "spec.yaml"), "--timeout-seconds", "0.1")
    assert result.exit_code == FAILED
    assert "workers: the search did not end within 0.1 s: 0 workers live" in result.stderr


def test_a_release_whose_workers_are_all_busy_is_not_blamed(
    check: Check, controller: RunningController, tmp_path: Path
) -> None:
    with controller.client("admin") as client, controller.http("worker") as http:
        search = client.create(SearchSpec(profile="synthetic", rounds=1, trials_per_round=2))
        while not (queued := list(client.trials(search.id, state="queued"))):
            pass
        PlayedWorker(http).claim(queued[0].id)
        (tmp_path / "spec.yaml").write_text(SPEC)
        result = check(str(tmp_path / "spec.yaml"), "--timeout-seconds", "0.1", "--json")
        assert result.exit_code == 0, result.stderr
        assert "all 1 workers are busy with other trials" in result.stderr
        assert '"search_ok": null' in result.stdout
        states = {found.id: found.state for found in client.list_experiments()}
        assert states.pop(search.id) == "running"
        assert set(states.values()) == {"cancelled"}


def test_a_search_through_a_worker_is_told(check: Check, controller: RunningController, tmp_path: Path) -> None:
    def play() -> None:
        with controller.client("admin") as client, controller.http("worker") as http:
            while not (found := list(client.list_experiments())):
                pass
            run_search(client, PlayedWorker(http), found[0].id)

    (tmp_path / "spec.yaml").write_text(SPEC)
    thread = threading.Thread(target=play)
    thread.start()
    result = check(str(tmp_path / "spec.yaml"))
    thread.join()
    assert result.exit_code == 0, result.stderr
    assert "a search through the workers: ok" in result.output
