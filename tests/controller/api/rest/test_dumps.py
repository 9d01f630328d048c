"""Backup and restore over HTTP and by command."""

import gzip
from pathlib import Path

import pytest
from controllers import PlayedWorker, RunningController, run_search
from scenarios import search_spec
from typer.testing import CliRunner

from paploss.cli.failures import BAD_INPUT, REFUSED
from paploss.cli.main import app
from paploss.client.sync_client import ApiError


def test_a_search_is_dumped_deleted_and_loaded(
    controller: RunningController, worker: PlayedWorker, tmp_path: Path
) -> None:
    with controller.client("admin") as admin:
        search = admin.create(search_spec(rounds=1, trials_per_round=2, confirm={"seeds": 1, "candidates": 1}))
        run_search(admin, worker, search.id)
        before = admin.get_experiment(search.id), list(admin.trials(search.id)), list(admin.rounds(search.id))
        log = [(line.kind, line.message, line.at) for line in admin.log(search.id)]
        file = tmp_path / "backup.jsonl.gz"
        address = ("--url", controller.url)
        runner = CliRunner(env={"PAPLOSS_KEY": controller.keys["admin"]})
        assert runner.invoke(app, ["dump", search.id, str(file), *address]).exit_code == 0
        refused = runner.invoke(app, ["load", str(file), *address])
        assert refused.exit_code == REFUSED
        assert "already" in refused.stderr
        admin.delete(search.id)
        result = runner.invoke(app, ["load", str(file), *address])
        assert result.output == f"{search.id} is succeeded\n", result.stderr
        assert before == (admin.get_experiment(search.id), list(admin.trials(search.id)), list(admin.rounds(search.id)))
        assert log == [(line.kind, line.message, line.at) for line in admin.log(search.id)]


def test_what_is_no_dump_is_refused_with_the_reason(controller: RunningController) -> None:
    with controller.client("admin") as admin:
        for content in (b"", b"x", gzip.compress(b"{}\n"), gzip.compress(b"[" * 100_000)):
            with pytest.raises(ApiError) as refusal:
                admin.load(content)
            assert refusal.value.status == 422


def test_a_file_may_be_larger_than_other_requests_and_has_a_limit_too(
    sqlite_url: str, redis_url: str, tmp_path: Path
) -> None:
    with (
        RunningController(sqlite_url, redis_url, tmp_path, max_body_bytes=1000, max_load_bytes=5000) as controller,
        controller.http("admin") as http,
    ):
        assert http.post("/api/v1/experiments/load", content=b"x" * 4000).status_code == 422
        assert http.post("/api/v1/experiments/load", content=b"x" * 6000).status_code == 413
        assert http.post("/api/v1/experiments", content=b"x" * 4000).status_code == 413


def test_a_file_that_cannot_be_read_or_written_is_named(controller: RunningController, tmp_path: Path) -> None:
    runner = CliRunner(env={"PAPLOSS_KEY": controller.keys["admin"]})
    result = runner.invoke(app, ["load", str(tmp_path / "missing"), "--url", controller.url])
    assert (result.exit_code, str(tmp_path / "missing") in result.stderr) == (BAD_INPUT, True)
