"""The detectors that can be trained, by name."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from paploss.jobs.losses import check_fit
from paploss.jobs.profiles import COMMAND, PROFILES
from paploss.jobs.spec import JobSpec
from paploss.trainer.datasets.coco import CocoSplit
from paploss.trainer.errors import UserError
from paploss.trainer.profiles.atss import atss_r50, atss_tiny
from paploss.trainer.profiles.deformable_detr import deformable_detr_r50, deformable_detr_tiny
from paploss.trainer.profiles.faster_rcnn import faster_rcnn_r50, faster_rcnn_tiny
from paploss.trainer.profiles.recipe import Config, Recipe
from paploss.trainer.profiles.retinanet import retinanet_r50, retinanet_tiny

RECIPES: Final[dict[str, Callable[[JobSpec, CocoSplit], Recipe]]] = {
    "retinanet-tiny": retinanet_tiny,
    "retinanet-r50": retinanet_r50,
    "faster-rcnn-tiny": faster_rcnn_tiny,
    "faster-rcnn-r50": faster_rcnn_r50,
    "atss-tiny": atss_tiny,
    "atss-r50": atss_r50,
    "deformable-detr-tiny": deformable_detr_tiny,
    "deformable-detr-r50": deformable_detr_r50,
}
"""Profile name to a function of (job, training data). Profiles without a detector here have none."""

if _wrong := set(RECIPES) ^ {name for name, card in PROFILES.items() if card.detector}:
    raise TypeError(f"expected a recipe for each profile with a detector, not so for {', '.join(sorted(_wrong))}")


def recipe_of(spec: JobSpec, data: CocoSplit) -> Recipe:
    """The recipe of a job on its training data.

    Raises:
        UserError: no such profile, or a loss that does not fit its heads.
    """
    if spec.profile == COMMAND.name:
        raise UserError(
            "profile: command is for a worker with a trainer_command (PAPLOSS_TRAINER_COMMAND), this trainer has none"
        )
    if spec.profile not in RECIPES:
        raise UserError(f"profile: expected one of {', '.join((*RECIPES, 'synthetic'))}, got {spec.profile!r}")
    try:
        check_fit(spec.loss, spec.profile)
    except ValueError as error:
        raise UserError(str(error)) from None
    recipe = RECIPES[spec.profile](spec, data)
    if spec.gather_scores:
        recipe = replace(recipe, model=_with_gathered_scores(recipe.model))
    learning_rate = spec.learning_rate_factor * recipe.schedule.learning_rate
    schedule = replace(recipe.schedule, learning_rate=learning_rate)
    return replace(recipe, schedule=schedule, precision=spec.overrides.precision)


def _with_gathered_scores(model: Config) -> Config:
    """The model with every `RankingObjective` over the entries of all devices."""
    return {
        key: {**part, "gather_scores": True}
        if key == "ranking"
        else _with_gathered_scores(part)
        if isinstance(part, dict)
        else part
        for key, part in model.items()
    }
