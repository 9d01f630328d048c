"""A search as a file, and back, across databases."""

import base64
import gzip
import io
import json
import shutil
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from analyses import make_analysis
from scenarios import (
    add_search,
    add_trial,
    attempts,
    claim,
    evaluation,
    failed,
    finish,
    renew,
    succeeded,
    trial,
    waits_for_a_lock,
)
from scenarios import search as read_search
from servers import PostgresServer
from simulation import Platform
from sqlalchemy import insert, select
from stack import wait_until

from paploss.client.projects import ProjectRequest
from paploss.controller.data_roots import PathRefusedError
from paploss.controller.settings import Settings
from paploss.controller.store import dumps, experiments, rounds, schema
from paploss.controller.store.database import Database
from paploss.controller.store.documents import EARLIER
from paploss.controller.store.dump_rows import columns_of
from paploss.controller.store.errors import ConflictError, DumpError, NotFoundError
from paploss.controller.store.projects import create_project
from paploss.controller.store.tables import Base, Experiment
from paploss.controller.store.trials import leases
from paploss.controller.store.visibility import within
from paploss.jobs.lease import ResultRequest
from paploss.jobs.queue import TrialQueue

MOST_BYTES = 5_000_000
HUGE = json.loads("1e400")
LONG_LINE = json.dumps({"table": "events", "row": {"message": "x" * 3_900_000}})
OLD_DUMPS = sorted((Path(__file__).parents[2] / "fixtures" / "0.1.0").glob("*.jsonl.gz"))


@pytest.fixture
def other(
    database: Database, sqlite_template: Path, postgres_server: PostgresServer, postgres_template: str, tmp_path: Path
) -> Iterator[Database]:
    """An empty database of the other kind."""
    if database.is_sqlite:
        opened = Database(postgres_server.create_database(postgres_template))
        yield opened
        opened.close()
        postgres_server.drop_database(opened.url.render_as_string())
    else:
        shutil.copy(sqlite_template, tmp_path / "other.db")
        opened = Database(f"sqlite:///{tmp_path / 'other.db'}")
        yield opened
        opened.close()


def dumped(database: Database, experiment_id: str) -> bytes:
    file = io.BytesIO()
    dumps.dump(database, experiment_id, file)
    return file.getvalue()


def loaded(database: Database, content: bytes, *data_roots: Path, project: str | None = None) -> str:
    options = {"most_bytes": MOST_BYTES, "try_views": show_nothing, "project": project}
    return dumps.load(database, io.BytesIO(content), data_roots, **options)


def show_nothing(_database: Database, _experiment_id: str) -> None:
    """The views are the API's; its tests try them."""


def lines_of(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gzip.decompress(content).splitlines()]


def packed(lines: list[dict[str, Any]]) -> bytes:
    content = "".join(json.dumps(line) + "\n" for line in lines)
    return gzip.compress(content.replace("Infinity", "1e400").encode())


def test_all_that_belongs_to_a_search_is_dumped() -> None:
    def belongs(name: str) -> bool:
        targets = {key.column.table.name for key in Base.metadata.tables[name].foreign_keys}
        return name == "searches" or bool(targets & {"searches", "trials"})

    expected = {name for name in Base.metadata.tables if belongs(name)}
    # An Idempotency-Key belongs to a client and its request, and a day later to nobody.
    # A tally follows from other rows. Who is told of a search, and what has been told, is of its platform.
    left_out = {"idempotency_keys", "tallies", "subscriptions", "watch_states"}
    assert {model.__tablename__ for model in dumps.MODELS} == expected - left_out


def test_a_finished_search_comes_back_whole_in_the_other_kind_of_database(
    database: Database, other: Database, redis_url: str, tmp_path: Path
) -> None:
    with TrialQueue(redis_url) as queue:
        platform = Platform(database, queue, Settings(state_dir=tmp_path))
        search = platform.run(add_search(database, rounds=2, trials_per_round=2, confirm={"seeds": 1}))
    assert search.state == "succeeded"
    content = dumped(database, search.id)
    assert {line["table"] for line in lines_of(content)[1:]} >= {"searches", "rounds", "trials", "attempts", "events"}
    assert loaded(other, content) == search.id
    assert lines_of(dumped(other, search.id)) == lines_of(content)
    assert loaded_state(other, search.id) == "succeeded"


def loaded_state(database: Database, experiment_id: str) -> str:
    return read_search(database, experiment_id).state


def test_learning_curves_failures_and_late_results_come_back_too(database: Database, other: Database) -> None:
    trial_id = add_trial(database)
    experiment_id = trial(database, trial_id).experiment_id
    token = claim(database, trial_id)
    renew(database, trial_id, token, evaluations=(evaluation(2, 0.1), evaluation(4, 1 / 3)), log_tail="ünïcode ✓ \x1b")
    finish(database, trial_id, token, failed("crash", 'it "broke"\n'))
    token_of_second = claim(database, trial_id)
    with database.write() as session:
        request = ResultRequest(
            trial_id=trial_id, token=token_of_second, result=succeeded(0.1 + 0.2), analysis=make_analysis()
        )
        leases.finish(session, request)
    with database.write() as session:
        request = ResultRequest(trial_id=trial_id, token=token, result=succeeded(0.9))
        leases.keep_late_result(session, request, 1, "late")
        experiments.pause_experiment(session, experiment_id)
    content = dumped(database, experiment_id)
    tables = [line["table"] for line in lines_of(content)[1:]]
    assert {
        name: tables.count(name) for name in ("analyses", "attempts", "evaluations", "late_results", "thumbnails")
    } == {
        "analyses": 1,
        "attempts": 2,
        "evaluations": 2,
        "late_results": 1,
        "thumbnails": 2,
    }
    loaded(other, content)
    assert lines_of(dumped(other, experiment_id)) == lines_of(content)
    assert trial(other, trial_id).reward == 0.1 + 0.2


def test_a_thumbnail_that_is_no_jpeg_is_refused(database: Database, other: Database) -> None:
    trial_id = add_trial(database)
    request = ResultRequest(
        trial_id=trial_id, token=claim(database, trial_id), result=succeeded(), analysis=make_analysis()
    )
    with database.write() as session:
        leases.finish(session, request)
    lines = lines_of(dumped(database, trial(database, trial_id).experiment_id))
    (first, *_) = (line for line in lines[1:] if line["table"] == "thumbnails")
    first["row"]["jpeg"] = base64.b64encode(b"<svg><script>alert(1)</script></svg>").decode()
    with pytest.raises(DumpError, match=r"thumbnails: jpeg: .*expected a JPEG"):
        loaded(other, packed(lines))


def test_a_search_that_runs_is_paused_and_goes_on_where_it_was(database: Database, other: Database) -> None:
    trial_id = add_trial(database)
    experiment_id = trial(database, trial_id).experiment_id
    token = claim(database, trial_id)
    loaded(other, dumped(database, experiment_id))
    assert loaded_state(other, experiment_id) == "paused"
    # The worker's token fences here as well: its result counts, once.
    assert finish(other, trial_id, token, succeeded(0.5)) == "succeeded"
    assert finish(other, trial_id, token, succeeded(0.5)) == "succeeded"
    assert len(attempts(other, trial_id)) == 1
    with other.write() as session:
        assert experiments.resume_experiment(session, experiment_id).state == "running"


def test_a_search_that_is_there_is_not_overwritten(database: Database) -> None:
    search = add_search(database)
    with pytest.raises(ConflictError, match=f"there is an experiment {search.id} already"):
        loaded(database, dumped(database, search.id))
    with pytest.raises(NotFoundError):
        dumped(database, "0nothing")


@pytest.mark.databases("postgresql")
def test_of_two_replicas_that_load_a_file_at_once_the_second_is_told_of_the_conflict(
    database: Database, other: Database
) -> None:
    """On SQLite there is one writer at a time."""
    search = add_search(other)
    with other.read() as session:
        row = dict(session.execute(select(*columns_of(Experiment))).one()._mapping)
    with ThreadPoolExecutor(1) as pool:
        with database.write() as session:
            session.execute(insert(Experiment), row)
            second = pool.submit(loaded, database, dumped(other, search.id))
            wait_until(lambda: waits_for_a_lock(session), "the second to wait for the first")
        with pytest.raises(ConflictError, match=f"there is an experiment {search.id} already"):
            second.result()


def test_a_file_of_a_newer_program_is_refused(database: Database, other: Database) -> None:
    header, *rows = lines_of(dumped(database, add_search(database).id))
    with pytest.raises(DumpError, match="schema 9999 is newer than this program"):
        loaded(other, packed([header | {"schema": "9999"}, *rows]))


@pytest.mark.parametrize("file", OLD_DUMPS, ids=lambda file: file.name.partition(".")[0])
def test_a_file_of_an_older_program_is_migrated(other: Database, file: Path) -> None:
    content = file.read_bytes()
    header, *rows = lines_of(content)
    assert header["schema"] < schema.newest()
    experiment_id = loaded(other, content)
    again = lines_of(dumped(other, experiment_id))
    assert again[0]["schema"] == schema.newest()
    for table, unchanged in (("trials", ("theta", "seed", "reward", "state", "token")), ("rounds", ("mu", "sigma"))):
        then, now = ([line["row"] for line in lines if line["table"] == table] for lines in (rows, again[1:]))
        assert [[row[name] for name in unchanged] for row in now] == [[row[name] for name in unchanged] for row in then]


def with_search(lines: list[dict[str, Any]], **changes: Any) -> bytes:
    header, search, *_ = lines
    return packed([header, {"table": "searches", "row": search["row"] | changes}])


def with_trial(lines: list[dict[str, Any]], **changes: Any) -> bytes:
    header, search, trial_line, *_ = lines
    return packed([header, search, {"table": "trials", "row": trial_line["row"] | changes}])


def with_line(lines: list[dict[str, Any]], line: str, times: int = 1) -> bytes:
    return gzip.compress("\n".join([*map(json.dumps, lines[:2]), *[line] * times]).encode())


def nested(levels: int) -> Any:
    return [nested(levels - 1)] if levels else []


BROKEN: dict[str, Callable[[list[dict[str, Any]]], bytes]] = {
    "cannot be unpacked: Not a gzipped file": lambda _lines: b"hello",
    "cannot be unpacked: Compressed file ended": lambda lines: packed(lines)[:-20],
    "line 1: expected the first line": lambda lines: packed(lines[1:]),
    "the row of the experiment first": lambda lines: packed([lines[0], *lines[2:]]),
    "line 3: expected a row of searches": lambda lines: packed([*lines[:2], {"table": "api_keys", "row": {}}]),
    "line 2: searches has no columns colour": lambda lines: with_search(lines, colour="red"),
    "searches: gpus": lambda lines: with_search(lines, gpus="many"),
    "searches: state": lambda lines: with_search(lines, state="asleep"),
    "spec: ": lambda lines: with_search(lines, spec={"profile": "yolo"}),
    "a row cannot be stored": lambda lines: packed([*lines[:2], lines[1]]),
    "FOREIGN KEY constraint failed": lambda lines: with_trial(lines, search_id="0other"),
    "searches: a row belongs to another": lambda lines: with_search(lines, id="0other"),
    "searches: created_at: .*less than or equal": lambda lines: with_search(lines, created_at=1e18),
    "searches: created_at: .*finite": lambda lines: with_search(lines, created_at=HUGE),
    "searches: best: the outcome of the search": lambda lines: with_search(lines, best={}),
    "searches: next_number: .*less than or equal": lambda lines: with_search(lines, next_number=2**40),
    "too large to convert": lambda lines: with_search(lines, next_number=10**400),
    "searches: name: .*at most 20000 characters": lambda lines: with_search(lines, name="x" * 20_001),
    "surrogates not allowed": lambda lines: with_search(lines, name="\ud800"),
    "trials: metrics: the metrics": lambda lines: with_trial(lines, metrics={"ap": "much"}),
    "trials: seconds: .*less than or equal": lambda lines: with_trial(lines, seconds=1e308),
    "trials: reward: .*less than or equal": lambda lines: with_trial(lines, reward=1.5),
    "trials: theta.0: .*finite": lambda lines: with_trial(lines, theta=[HUGE]),
    "trials: theta: .*at most 1000": lambda lines: with_trial(lines, theta=[0.5] * 1001),
    "trials: prune.0.fraction": lambda lines: with_trial(lines, prune=[{"fraction": 2, "min_ap": 0.1}]),
    "line 3: not JSON: expected finite numbers, got NaN": lambda lines: with_trial(lines, prune=[float("nan")]),
    "line 2: nested deeper than 32 levels": lambda lines: with_search(lines, best=nested(40)),
    "line 3: nested deeper than 32 levels": lambda lines: with_line(lines, "[" * 1_000_000),
    "line 3: longer than 4000000 bytes": lambda lines: with_line(lines, "[" * 5_000_000),
    "the file is larger than 5000000 bytes when unpacked": lambda lines: with_line(lines, LONG_LINE, 2),
    "line 3: expected an object": lambda lines: with_line(lines, "[]"),
    "trials: a row belongs to another experiment": lambda lines: with_trial(lines, derived_from="0other-000000"),
    "trials: length: .*less than or equal": lambda lines: with_trial(lines, length=2.0),
    "trials: a row belongs to another": lambda lines: with_trial(lines, id=f"{lines[0]['search']}-../../x"),
}


@pytest.mark.databases("postgresql")  # each file is unpacked into a SQLite first
def test_a_broken_file_stores_nothing(database: Database) -> None:
    trial_id = add_trial(database)
    experiment_id = trial(database, trial_id).experiment_id
    lines = lines_of(dumped(database, experiment_id))
    with database.write() as session:
        experiments.cancel_experiment(session, experiment_id)
    experiments.delete_experiment(database, experiment_id)
    for words, breaks in BROKEN.items():
        with pytest.raises(DumpError, match=words):
            loaded(database, breaks(lines))
    with database.read() as session:
        assert session.scalars(select(Experiment)).all() == []


def test_a_search_that_is_to_go_on_must_keep_to_the_data_roots(database: Database, other: Database) -> None:
    split = {"annotations": "a.json", "images": "i"}
    dataset = {"name": "mine", "root": "/data/mine", "train": split, "val": split}
    search = add_search(database, dataset=dataset)
    content = dumped(database, search.id)
    with pytest.raises(PathRefusedError, match="data roots"):
        loaded(other, content)
    assert loaded(other, content, Path("/data")) == search.id


class WatchedFile(io.BytesIO):
    """A file whose reader is watched: `whenever_read` is called each time."""

    def __init__(self, content: bytes, whenever_read: Callable[[], None]) -> None:
        super().__init__(content)
        self._whenever_read = whenever_read

    def read(self, size: int | None = -1, /) -> bytes:
        self._whenever_read()
        return super().read(size)


def test_leases_are_renewed_while_a_file_is_read_checked_and_shown(database: Database, other: Database) -> None:
    content = dumped(database, add_search(database).id)
    trial_id = add_trial(other)
    token = claim(other, trial_id)
    renewals = []

    def renew_meanwhile(*_: object) -> None:  # in this thread, where it would wait for ever for a writer that holds on
        renewals.append(renew(other, trial_id, token))

    file = WatchedFile(content, renew_meanwhile)
    dumps.load(other, file, (), most_bytes=MOST_BYTES, try_views=renew_meanwhile)
    assert set(renewals) == {"continue"}
    assert len(renewals) > 1


def test_what_cannot_be_shown_is_not_stored(database: Database, other: Database) -> None:
    search = add_search(database)

    def refuse(scratch: Database, experiment_id: str) -> None:
        assert read_search(scratch, experiment_id).state == "paused"
        raise DumpError("it cannot be shown")

    file = io.BytesIO(dumped(database, search.id))
    with pytest.raises(DumpError, match="cannot be shown"):
        dumps.load(other, file, (), most_bytes=MOST_BYTES, try_views=refuse)
    with other.read() as session:
        assert session.scalars(select(Experiment)).all() == []


def test_what_a_search_took_from_earlier_ones_is_in_its_file(platform: Platform, other: Database) -> None:
    trials = [{"theta": [0.5] * 41, "reward": 0.2, "seed": 1}]
    space = {"heads": ["bbox_head"], "knots": 4}
    start = {"earlier": {"name": "there", "space": space, "trials": trials}}
    search = add_search(platform.database, algorithm="guided", mode="stream", start_from=[start])
    experiment_id = loaded(other, dumped(platform.database, search.id))
    with other.read() as session:
        (taken,) = rounds.read_earlier(session, experiment_id)
    assert EARLIER.read(taken).trials[0].reward == 0.2


def make_project(database: Database, name: str, *data_roots: str) -> Database:
    with database.write() as session:
        create_project(session, ProjectRequest(name=name, data_roots=list(data_roots)))
    return within(database, name)


def test_a_search_stays_in_its_project_or_is_loaded_into_another(database: Database, other: Database) -> None:
    made = add_search(make_project(database, "lab"))
    content = dumped(database, made.id)
    with pytest.raises(DumpError, match="there is no project 'lab' here"):
        loaded(other, content)
    make_project(other, "birds")
    assert loaded(other, content, project="birds") == made.id
    assert read_search(other, made.id).project == "birds"
    with other.write() as session:
        experiments.cancel_experiment(session, made.id)
    experiments.delete_experiment(other, made.id)
    make_project(other, "lab")
    loaded(other, content)
    assert read_search(other, made.id).project == "lab"


@pytest.mark.parametrize("file", OLD_DUMPS, ids=lambda file: file.name)
def test_a_file_of_before_there_were_projects_belongs_to_the_default_one(database: Database, file: Path) -> None:
    assert read_search(database, loaded(database, file.read_bytes(), Path("/"))).project == "default"


def test_what_is_to_go_on_keeps_to_the_data_roots_of_its_project(database: Database, other: Database) -> None:
    splits = {"train": {"annotations": "a.json", "images": "i"}, "val": {"annotations": "b.json", "images": "i"}}
    made = add_search(database, dataset={"name": "birds", "root": "/data/birds", **splits})
    content = dumped(database, made.id)
    make_project(other, "fish", "/data/fish")
    make_project(other, "birds", "/data/birds")
    with pytest.raises(PathRefusedError, match="beneath one of the data roots: /data/fish"):
        loaded(other, content, Path("/data"), project="fish")
    assert loaded(other, content, Path("/data"), project="birds") == made.id


def test_a_dump_holds_what_its_project_sees(database: Database) -> None:
    made = add_search(make_project(database, "lab"))
    elsewhere = make_project(database, "elsewhere")
    with pytest.raises(NotFoundError):
        dumped(elsewhere, made.id)
