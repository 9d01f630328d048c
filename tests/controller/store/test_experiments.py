import pytest
from scenarios import add_search, add_training, attempts, claim, do_at_once, search, search_spec, training_spec, trial
from sqlalchemy import func, select

from paploss.client.projects import ProjectRequest
from paploss.controller.experiments.creation import create
from paploss.controller.store import experiments
from paploss.controller.store.database import Database
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.experiments import Idempotency
from paploss.controller.store.projects import create_project
from paploss.controller.store.reading import lists
from paploss.controller.store.reading.experiments import list_experiments
from paploss.controller.store.tables import Base, Experiment, Trial
from paploss.controller.store.visibility import within
from paploss.jobs.losses import parse_loss
from paploss.jobs.presets import PRESETS, identity
from paploss.jobs.spec import SyntheticOptions


def test_a_training_has_a_trial_for_each_loss_and_seed(database: Database) -> None:
    made = add_training(database, seeds=[3, 4])
    with database.read() as session:
        trials = lists.list_trials(session, made.id).items
    assert [(row.label, row.seed, row.kind) for row in trials] == [
        ("published", 3, "final"),
        ("start", 3, "final"),
        ("published", 4, "final"),
        ("start", 4, "final"),
    ]
    assert parse_loss(trials[0].loss, strict=True) == PRESETS["retinanet"]
    assert parse_loss(trials[1].loss, strict=True) == identity(("bbox_head",))


def test_a_training_can_use_the_best_loss_of_a_finished_search(database: Database) -> None:
    found = add_search(database)
    spec = training_spec(losses=[{"label": "found", "search": found.id}])
    with pytest.raises(ConflictError, match="no best loss yet"), database.write() as session:
        create(session, spec, "ann")
    with database.write() as session:
        session.get_one(Experiment, found.id).best = {"loss": PRESETS["retinanet"].model_dump(mode="json")}
    with database.write() as session:
        made = create(session, spec, "ann")
    assert parse_loss(trial(database, f"{made.id}-000000").loss, strict=True) == PRESETS["retinanet"]


def test_a_training_with_the_loss_of_an_unknown_search_is_refused_whole(database: Database) -> None:
    spec = training_spec(losses=[{"label": "start", "preset": "identity"}, {"label": "found", "search": "nothing"}])
    with pytest.raises(NotFoundError, match=r"losses\[found\]"), database.write() as session:
        create(session, spec, "ann")
    with database.read() as session:
        assert session.scalar(select(func.count()).select_from(Experiment)) == 0


def test_a_request_that_does_not_survive_its_own_json_is_not_stored(database: Database) -> None:
    unchecked = SyntheticOptions.model_construct(noise=float("inf"))
    spec = search_spec().model_copy(update={"synthetic": unchecked})
    with pytest.raises(ConflictError, match="does not survive its own JSON"), database.write() as session:
        create(session, spec, "ann")


def test_a_repeated_idempotency_key_makes_nothing_new(database: Database) -> None:
    key = Idempotency("k1", "a" * 64)
    made = []
    for owner in ("ann", "ann", "bob"):
        with database.write() as session:
            made.append(create(session, search_spec(), owner, key).id)
    assert made[0] == made[1] != made[2]
    with pytest.raises(ConflictError, match="k1"), database.write() as session:
        create(session, search_spec(), "ann", Idempotency("k1", "b" * 64))


def test_an_idempotency_key_of_another_project_is_refused_as_that(database: Database) -> None:
    """And not as used at this moment: a repetition would never be answered."""
    key = Idempotency("k1", "a" * 64)
    with database.write() as session:
        create_project(session, ProjectRequest(name="lab"))
        create(session, search_spec(), "ann", key)
    with pytest.raises(ConflictError, match="of another project"), within(database, "lab").write() as session:
        create(session, search_spec(), "ann", key)


def test_the_same_idempotency_key_at_once_makes_one_search(database: Database) -> None:
    idempotency = Idempotency("k1", "a" * 64)
    made, refused = do_at_once(database, lambda session: create(session, search_spec(), "ann", idempotency).id)
    assert len(set(made)) == 1
    assert len(made) + len(refused) == 4
    assert all("repeat this one" in message for message in refused)


def test_pause_resume_and_cancel_may_be_repeated(database: Database) -> None:
    made = add_search(database)
    for change, state in (
        (experiments.pause_experiment, "paused"),
        (experiments.resume_experiment, "running"),
        (experiments.pause_experiment, "paused"),
        (experiments.cancel_experiment, "cancelled"),
    ):
        for _ in range(2):
            with database.write() as session:
                change(session, made.id)
            assert search(database, made.id).state == state
    with pytest.raises(ConflictError, match="has ended already: cancelled"), database.write() as session:
        experiments.resume_experiment(session, made.id)
    with database.read() as session:
        kinds = [event.kind for event in lists.list_events(session, made.id).items]
    changes = ("started", "paused", "resumed", "paused", "cancelled")
    assert kinds == [f"experiment_{change}" for change in changes]


def test_cancelling_a_search_ends_its_open_trials_and_their_attempts(database: Database) -> None:
    made = add_training(database)
    claim(database, f"{made.id}-000000")
    with database.write() as session:
        experiments.cancel_experiment(session, made.id)
    with database.read() as session:
        assert lists.count_trials(session, [made.id]) == {made.id: {"cancelled": 2}}
    assert attempts(database, f"{made.id}-000000")[0].outcome == "cancelled"
    assert search(database, made.id).finished_at is not None


def test_only_a_final_search_can_be_deleted_and_nothing_of_it_stays(database: Database) -> None:
    made = add_training(database)
    claim(database, f"{made.id}-000000")
    with pytest.raises(ConflictError, match="cancel it first"):
        experiments.delete_experiment(database, made.id)
    with database.write() as session:
        experiments.cancel_experiment(session, made.id)
    experiments.delete_experiment(database, made.id)
    with database.read() as session:
        for table in Base.metadata.sorted_tables:
            rows = session.scalar(select(func.count()).select_from(table))
            assert rows == (1 if table.name in ("leader", "workers", "projects", "deleted_searches") else 0), table.name


def test_a_large_search_is_deleted_in_parts_and_one_that_was_interrupted_goes_on(database: Database) -> None:
    made = add_training(database, seeds=range(150), learning_rates=[])
    with database.write() as session:
        experiments.cancel_experiment(session, made.id)
    with database.write() as session:
        assert experiments.delete_part(session, made.id)
    with database.read() as session:
        (left,) = lists.count_trials(session, [made.id])[made.id].values()
    assert 0 < left < 300
    experiments.delete_experiment(database, made.id)
    with pytest.raises(NotFoundError):
        experiments.delete_experiment(database, made.id)


@pytest.mark.parametrize(
    "change",
    [
        experiments.pause_experiment,
        experiments.resume_experiment,
        experiments.cancel_experiment,
        experiments.delete_part,
    ],
)
def test_an_unknown_search_is_not_found(database: Database, change: object) -> None:
    assert callable(change)
    with pytest.raises(NotFoundError), database.write() as session:
        change(session, "nothing")


def test_ids_sort_by_time_and_fit_a_trial_id() -> None:
    ids = [experiments.new_experiment_id() for _ in range(3)]
    assert {len(made) for made in ids} == {13}
    assert experiments.new_experiment_id()[:6] >= ids[0][:6]


def test_lists_come_in_pages(database: Database) -> None:
    made = [add_search(database, name=str(index)).id for index in range(5)]
    seen: list[str] = []
    cursor = None
    with database.read() as session:
        while True:
            page = list_experiments(session, cursor=cursor, limit=2)
            seen += [row.id for row in page.items]
            cursor = page.next_cursor
            if cursor is None:
                break
    assert seen == sorted(made, reverse=True)


def test_trials_can_be_filtered_and_read_from_either_end(database: Database) -> None:
    made = add_training(database, seeds=[0, 1, 2])
    claim(database, f"{made.id}-000001")
    with database.read() as session:
        assert [row.number for row in lists.list_trials(session, made.id, state="running").items] == [1]
        first = lists.list_trials(session, made.id, limit=4)
        rest = lists.list_trials(session, made.id, limit=4, cursor=first.next_cursor)
        assert [row.number for row in (*first.items, *rest.items)] == list(range(6))
        assert rest.next_cursor is None
        last = lists.list_trials(session, made.id, limit=2, newest_first=True)
        assert [row.number for row in last.items] == [5, 4]


def test_the_best_trial_is_the_first_proxy_with_the_highest_reward(database: Database) -> None:
    made = add_training(database, seeds=[0, 1])
    with database.write() as session:
        session.get_one(Trial, f"{made.id}-000000").reward = 0.5  # no proxy
        assert lists.best_trial(session, made.id) is None
        for number, reward in ((1, 0.3), (2, 0.4), (3, 0.4)):
            trial = session.get_one(Trial, f"{made.id}-{number:06d}")
            trial.kind, trial.reward = "proxy", reward
    with database.read() as session:
        best = lists.best_trial(session, made.id)
        assert best is not None
        assert best.number == 2
