"""Which images go to the validation part: every class that can be is in both."""

import itertools
from collections.abc import Hashable, Mapping, Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paploss.trainer.datasets.stratification import choose_validation

Objects = Mapping[Hashable, Sequence[Hashable]]


def count_parted(objects: Objects, chosen: set) -> int:
    """Classes with images in both parts."""
    images: dict[Hashable, set] = {}
    for image, classes in objects.items():
        for one in classes:
            images.setdefault(one, set()).add(image)
    return sum(0 < len(found & chosen) < len(found) for found in images.values())


@st.composite
def data_sets(draw) -> tuple[dict[int, list[int]], int]:
    rows = draw(st.lists(st.lists(st.integers(0, 5), max_size=4), min_size=2, max_size=8))
    return dict(enumerate(rows)), draw(st.integers(1, len(rows) - 1))


@given(data_sets(), st.integers(0, 3))
@settings(max_examples=150)
def test_no_other_choice_has_more_classes_in_both_parts(data, seed):
    objects, val_count = data
    chosen = choose_validation(objects, val_count, seed)
    assert len(chosen) == val_count
    best = max(count_parted(objects, set(other)) for other in itertools.combinations(objects, val_count))
    assert count_parted(objects, chosen) == best


def test_rare_classes_of_three_images_are_in_both_parts():
    objects = {number: [0, 1 + number // 3] if number < 30 else [0] for number in range(200)}
    for seed in range(20):
        assert count_parted(objects, choose_validation(objects, 40, seed)) == 11


def test_a_class_in_one_image_is_learned_rather_than_measured():
    objects = {number: [0, 1] if number == 7 else [0] for number in range(50)}
    assert not any(7 in choose_validation(objects, 10, seed) for seed in range(20))


def test_images_without_objects_and_crowded_ones_keep_their_shares():
    objects = {number: [0] * (number % 4) for number in range(400)}
    for seed in range(5):
        chosen = choose_validation(objects, 100, seed)
        shares = [sum(number % 4 == objects_each for number in chosen) for objects_each in range(4)]
        assert shares == pytest.approx([25] * 4, abs=3)


def test_ids_of_any_kind_and_no_objects_at_all():
    objects = {2**70: [], "a": [], -1: [], "1": []}
    assert len(choose_validation(objects, 2, 0)) == 2
    assert choose_validation(objects, 2, 5) == choose_validation(objects, 2, 5)
