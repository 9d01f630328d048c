"""Which experiments a list has, and in which order, on both databases."""

from typing import Any

import pytest
from scenarios import add_search, add_training, claim, finish, succeeded
from sqlalchemy import update

from paploss.client.annotations import ExperimentAnnotation
from paploss.controller.store import experiments as store
from paploss.controller.store.annotations import annotate_experiment
from paploss.controller.store.database import Database
from paploss.controller.store.reading.experiments import (
    ExperimentFilter,
    ExperimentOrder,
    find_experiments,
    known_values,
    sort_experiments,
)
from paploss.controller.store.tables import Experiment, Trial

SPLIT = {"annotations": "all.json", "images": "images"}
OTHER = {"name": "other_digits", "root": "/data/other", "train": SPLIT, "val": SPLIT}


def annotate(database: Database, experiment_id: str, **change: Any) -> None:
    with database.write() as session:
        annotate_experiment(session, experiment_id, ExperimentAnnotation(**change))


@pytest.fixture
def names(database: Database) -> dict[str, str]:
    """Names of three experiments by id: of two searches, one of them cancelled and archived, and a training."""
    cells = add_search(database, name="Cells 50%", dataset={"name": "digits"}).id
    roads = add_search(database, name="roads", dataset=OTHER).id
    final = add_training(database, name="final Épreuve").id
    annotate(database, cells, note="A *long* night", tags=("Night", "best_ever", "naïve"))
    annotate(database, final, tags=("night", "bestXever"))
    with database.write() as session:
        store.cancel_experiment(session, roads)
    annotate(database, roads, archived=True)
    return {cells: "cells", roads: "roads", final: "final"}


@pytest.mark.parametrize(
    ("chosen", "found"),
    [
        ({}, {"cells", "roads", "final"}),
        ({"archived": "no"}, {"cells", "final"}),
        ({"archived": "only"}, {"roads"}),
        ({"text": "50%"}, {"cells"}),
        ({"text": "CELLS"}, {"cells"}),
        ({"text": "long* NIGHT"}, {"cells"}),
        ({"text": "night"}, {"cells", "final"}),
        ({"text": "NAÏ"}, {"cells"}),
        ({"text": "éPREUVE"}, {"final"}),
        ({"tag": "NIGHT"}, {"cells", "final"}),
        ({"tag": "nigh"}, set()),
        ({"tag": "best_ever"}, {"cells"}),
        ({"tag": "naïve"}, {"cells"}),
        ({"kinds": ("search",), "dataset": "digits"}, {"cells"}),
        ({"profile": "synthetic", "owner": "ann", "state": "cancelled"}, {"roads"}),
        ({"owner": "ben"}, set()),
    ],
)
def test_experiments_are_found_by_each_condition(
    database: Database, names: dict[str, str], chosen: dict[str, Any], found: set[str]
) -> None:
    with database.read() as session:
        page = sort_experiments(session, ExperimentFilter(**chosen))
    assert {names[row.id] for row in page.items} == found
    assert page.total == len(found)


def test_beyond_the_end_of_a_table_is_its_last_page(database: Database, names: dict[str, str]) -> None:
    with database.read() as session:
        page = sort_experiments(session, ExperimentFilter(), offset=50, limit=2)
        none = sort_experiments(session, ExperimentFilter(owner="ben"), offset=50)
    assert ([names[row.id] for row in page.items], page.offset, page.total) == (["cells"], 2, 3)
    assert (none.items, none.offset, none.total) == ([], 0, 0)


@pytest.mark.parametrize(
    ("order", "ascending"),
    [
        ("started", ["cells", "roads", "final"]),
        ("name", ["cells", "final", "roads"]),
        ("state", ["roads", "final", "cells"]),  # those in the same state newest first
        ("dataset", ["final", "cells", "roads"]),
        ("progress", ["cells", "roads", "final"]),
        ("best", ["final", "cells", "roads"]),
    ],
)
def test_experiments_are_sorted_by_each_column_and_those_without_a_value_come_last(
    database: Database, names: dict[str, str], order: ExperimentOrder, ascending: list[str]
) -> None:
    ids = {name: experiment_id for experiment_id, name in names.items()}
    trial_id = f"{ids['final']}-000000"
    finish(database, trial_id, claim(database, trial_id), succeeded(0.25))
    with database.write() as session:
        session.execute(update(Experiment).where(Experiment.id == ids["cells"]).values(best={"mean": 0.5}))
        session.execute(update(Experiment).where(Experiment.id == ids["roads"]).values(round=1))
    with database.read() as session:
        rows = sort_experiments(session, ExperimentFilter(), order=order, descending=False).items
        assert [names[row.id] for row in rows] == ascending
        descending = sort_experiments(session, ExperimentFilter(), order=order, offset=0, limit=1).items
        valued = [name for name in ascending if not (order in ("progress", "best") and name == ascending[-1])]
        last = {"state": "final", "dataset": "roads"}.get(order, valued[-1])
        assert names[descending[0].id] == last


def test_the_best_of_a_comparison_is_the_best_mean_of_a_loss(database: Database) -> None:
    split, even = (add_training(database, name=name, seeds=[0, 1]).id for name in ("split", "even"))
    with database.write() as session:
        for experiment_id, rewards in ((split, (0.9, 0.1)), (even, (0.6, 0.6))):
            for seed, reward in enumerate(rewards):
                its = (Trial.experiment_id == experiment_id, Trial.label == "start", Trial.seed == seed)
                session.execute(update(Trial).where(*its).values(reward=reward))
    with database.read() as session:
        rows = sort_experiments(session, ExperimentFilter(), order="best").items
    assert [row.name for row in rows] == ["even", "split"]


def test_what_lists_can_be_narrowed_to(database: Database, names: dict[str, str]) -> None:
    with database.read() as session:
        known = known_values(session, ("search",))
        assert (known.tags, known.datasets) == (["best_ever", "naïve", "night"], ["digits", "other_digits"])
        assert (known.profiles, known.owners) == (["synthetic"], ["ann"])
        newest, *_ = names
        assert [row.id for row in find_experiments(session, [newest, "0nothing", newest])] == [newest]
