"""A folder becomes a data set with a part to train on, one to choose by, and one that neither has seen."""

from pathlib import Path

import pytest

from paploss.trainer.datasets.layouts.labelled import LabelledImage, LabelledObject
from paploss.trainer.datasets.preparation import divide
from paploss.trainer.errors import UserError


def images(prefix: str, count: int) -> list[LabelledImage]:
    """Every third shows a second class."""
    return [
        LabelledImage(Path(f"{prefix}{n}.jpg"), 9, 9, tuple(LabelledObject(label, (0, 0, 5, 5)) for label in labels))
        for n in range(count)
        for labels in [(0, 1) if n % 3 == 0 else (0,)]
    ]


def sizes(parts) -> dict[str, int]:
    return {part: len(found) for part, found in parts.items()}


def test_of_one_part_two_are_drawn_with_every_class_in_each():
    parts = divide({"train": images("a", 100)}, 0.2, seed=0)
    assert sizes(parts) == {"train": 60, "val": 20, "test": 20}
    assert len({one.file for part in parts.values() for one in part}) == 100
    assert all({one.label for image in part for one in image.objects} == {0, 1} for part in parts.values())


def test_a_class_is_in_each_part_with_objects_that_are_no_crowds():
    """A crowd is neither learned nor measured."""
    given = [
        LabelledImage(Path(f"{n}.jpg"), 9, 9, (LabelledObject(0, (0, 0, 5, 5)), LabelledObject(1, (0, 0, 5, 5), n > 2)))
        for n in range(60)
    ]
    parts = divide({"train": given}, 0.2, seed=0)
    for part in parts.values():
        assert any(one.label == 1 and not one.crowd for image in part for one in image.objects)


def test_what_is_held_out_stays_held_out():
    given = {"train": images("a", 50), "val": images("b", 30)}
    parts = divide(given, 0.1, seed=0)
    assert parts["test"] == given["val"]
    assert sizes(parts) == {"train": 42, "val": 8, "test": 30}


def test_three_parts_stay_as_they_are():
    given = {"train": images("a", 20), "val": images("b", 3), "test": images("c", 4)}
    assert divide(given, 0.2, seed=0) == given


@pytest.mark.parametrize("given", [{}, {"train": images("a", 9)}, {"train": images("a", 11), "test": images("b", 60)}])
def test_too_few_images_are_refused(given):
    with pytest.raises(UserError, match="train: expected"):
        divide(given, 0.2, seed=0)


def test_as_many_images_as_are_asked_for_are_enough():
    held_out = images("b", 18)
    with pytest.raises(UserError, match="train: expected 12 images or more to draw 6 from, got 11"):
        divide({"train": images("a", 11), "test": held_out}, 0.2, seed=0)
    assert sizes(divide({"train": images("a", 12), "test": held_out}, 0.2, seed=0)) == {
        "train": 6,
        "val": 6,
        "test": 18,
    }
