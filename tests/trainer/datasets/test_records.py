import pickle

import pytest

from paploss.trainer.datasets.records import Records

OBJECTS = [{"name": "ä", "boxes": [[0.1, 2, 1e-300]]}, {}, {"name": None}]


def test_objects_come_back_equal_and_new_each_time():
    records = Records(iter(OBJECTS))
    assert len(records) == 3
    assert [records[place] for place in range(3)] == OBJECTS == list(records)
    records[0]["boxes"].clear()
    assert records[0] == OBJECTS[0]


def test_beyond_the_end_there_is_nothing():
    with pytest.raises(IndexError):
        Records(OBJECTS)[3]
    assert list(Records([])) == []


def test_a_hundred_thousand_objects_are_few_for_python():
    records = Records({"bbox": [1.5, 2, 3, 4], "label": number} for number in range(100_000))
    assert len(pickle.dumps(records)) < 100 * len(records)
    assert all(not isinstance(value, list | dict) for value in vars(records).values())
