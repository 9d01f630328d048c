"""What every head that ranks must do, whatever its boxes are."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict

from paploss.trainer.detectors import MODELS
from paploss.trainer.heads.objective import RankingObjective
from tests.trainer.heads.ranking_heads import HEADS, NOTHING, TRUTH, RankingHead


@pytest.fixture(params=HEADS.values(), ids=HEADS)
def head(request: pytest.FixtureRequest) -> RankingHead:
    return request.param


def objective_of(built: torch.nn.Module) -> RankingObjective:
    (found,) = [module for module in built.modules() if isinstance(module, RankingObjective)]
    return found


def test_its_functions_and_gradient_scale_are_its_own_in_the_loss(head):
    objective, own = objective_of(head.built), head.published.heads[head.name]
    assert objective.gradient_scale == own.gradient_scale
    assert objective.control_points.tolist() == [[list(point) for point in row] for row in own.control_points]


def test_its_losses_are_those_of_its_objective_by_name(head):
    built = head.built
    given = []
    watch = objective_of(built).register_forward_hook(lambda _, __, losses: given.append(losses))
    losses = head.losses(built, head.outputs())
    watch.remove()
    assert losses == {name.replace("loss_", head.prefix): value for name, value in given[0].items()}
    assert all(value > 0 for value in losses.values())


@pytest.mark.parametrize(
    "config",
    [
        HEADS["retina"].model()["bbox_head"],
        HEADS["rpn"].model()["rpn_head"],
        HEADS["rcnn"].model()["roi_head"]["bbox_head"],
    ],
    ids=["retina", "rpn", "rcnn"],
)
def test_boxes_as_targets_in_place_of_deltas_are_refused(config):
    with pytest.raises(ValueError, match="reg_decoded_bbox: expected False"):
        MODELS.build(ConfigDict({**config, "reg_decoded_bbox": True}))


def test_a_batch_without_an_object_gives_zero_with_a_graph_to_every_output(head):
    outputs = head.outputs()
    losses = head.losses(head.built, outputs, NOTHING)
    assert all(value == 0 for value in losses.values())
    sum(losses.values()).backward()
    assert all(output.grad is not None and not output.grad.any() for output in outputs)


def test_every_output_has_a_gradient_where_one_image_has_all_objects(head):
    outputs = head.outputs()
    sum(head.losses(head.built, outputs, (TRUTH[0], NOTHING[0])).values()).backward()
    assert all(output.grad is not None for output in outputs)


def test_images_rank_together(head):
    outputs = head.outputs()
    sum(head.losses(head.built, outputs, (NOTHING[0], TRUTH[1])).values()).backward()
    # The first image has negatives alone, which feel the positives of the second one.
    assert head.in_first_corner(outputs[0].grad).any()


@pytest.mark.parametrize("name", [name for name, one in HEADS.items() if one.heeds_crowds])
def test_candidates_inside_a_crowd_are_left_out(name):
    head = HEADS[name]
    outputs = head.outputs()
    sum(head.losses(head.built, outputs, (NOTHING[0], TRUTH[1]), crowds=[[0, 0, 47, 47]]).values()).backward()
    # Outside the crowd they would feel the positives of the other image.
    assert not head.in_first_corner(outputs[0].grad).any()
    assert outputs[0].grad.any()


@pytest.mark.parametrize("name", [name for name, one in HEADS.items() if one.heeds_crowds])
def test_an_object_in_a_crowd_is_learned_as_without_the_crowd(name):
    head = HEADS[name]
    truth = ([[4, 4, 36, 40]], [1]), NOTHING[0]
    gradients = []
    for crowds in (None, [[0, 0, 64, 64]]):
        outputs = head.outputs()
        sum(head.losses(head.built, outputs, truth, crowds=crowds).values()).backward()
        boxes = outputs[len(outputs) // 2 :]
        gradients.append([one.grad != 0 for one in boxes])
    assert any(one.any() for one in gradients[0])
    assert all(torch.equal(*pair) for pair in zip(*gradients, strict=True))


def test_gradient_scale_changes_the_gradient_of_the_boxes_alone(head):
    gradients, values = [], []
    for scale in (1.0, 4.0):
        built = copy.deepcopy(head.built)
        objective_of(built).gradient_scale = scale
        outputs = head.outputs()
        (loss,) = head.losses(built, outputs).values()
        loss.backward()
        values.append(loss.item())
        gradients.append([output.grad for output in outputs])
    assert values[0] == values[1]
    half = len(gradients[0]) // 2
    assert any(gradient.any() for gradient in gradients[0][half:])
    torch.testing.assert_close(gradients[1][:half], gradients[0][:half])
    torch.testing.assert_close(gradients[1][half:], [4 * gradient for gradient in gradients[0][half:]])


def test_outputs_that_are_not_finite_give_a_nan_loss_without_an_error(head):
    outputs = head.outputs()
    with torch.no_grad():
        outputs[-1][0] = torch.nan
    assert all(value.isnan() for value in head.losses(head.built, outputs).values())
