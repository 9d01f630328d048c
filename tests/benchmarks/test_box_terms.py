"""What the searches start from are points of their family, the first trials that the protocol names."""

from pathlib import Path

import pytest

from benchmarks import family
from benchmarks.box_terms import ADDED, ELSEWHERE, search_spec, with_box_terms
from paploss.controller.experiments.losses import decode_loss
from paploss.controller.experiments.starts import starting_points
from paploss.jobs.profiles import PROFILES


def test_the_first_trials_are_those_of_the_protocol(tmp_path: Path) -> None:
    spec = search_spec(0, tmp_path)
    heads = [decode_loss(spec, point.tolist()).heads["bbox_head"] for point in starting_points(spec)]
    found = [(head.error_driven, head.giou_weight, head.l1_weight) for head in heads]
    published, with_giou, with_l1 = (False, 0, 0), (False, pytest.approx(1), 0), (False, 0, pytest.approx(1))
    assert found == [published, with_giou, with_l1]


def test_the_searches_are_those_of_the_evidence_but_for_family_and_start(tmp_path: Path) -> None:
    spec, other = search_spec(1, tmp_path), family.search_spec(1, tmp_path)
    assert spec.model_copy(update={"name": other.name, "family": other.family, "start_from": None}) == other


@pytest.mark.parametrize("profile", sorted({profile for profile, _ in ELSEWHERE}))
def test_every_head_has_the_term(profile: str) -> None:
    for choice in with_box_terms(profile):
        assert choice.loss is not None
        assert set(choice.loss.heads) == set(PROFILES[profile].heads)
        assert all(head.extensions == ADDED[choice.label] for head in choice.loss.heads.values())


def test_a_light_term_pulls_as_one_of_weight_1_without_a_gradient_scale() -> None:
    for choice in with_box_terms("faster-rcnn-tiny", undo_scales=True):
        assert choice.loss is not None
        for head in choice.loss.heads.values():
            pulls = {name: weight * head.gradient_scale for name, weight in head.extensions.items()}
            assert pulls == pytest.approx(ADDED[choice.label])
