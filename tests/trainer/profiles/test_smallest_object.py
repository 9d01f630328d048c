import pytest

from paploss.jobs.presets import identity
from paploss.jobs.profiles import PROFILES
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.profiles import RECIPES, recipe_of
from paploss.trainer.profiles.smallest_object import visibility_of

SMALLEST_PX = {
    "retinanet-tiny": 32,  # an anchor of 4 strides of 8 px
    "retinanet-r50": 32,
    "faster-rcnn-tiny": 16,  # of 4 strides of 4 px
    "faster-rcnn-r50": 32,  # of 8 strides of 4 px
    "atss-tiny": 8,  # the finest stride
    "atss-r50": 8,
    "deformable-detr-tiny": 16,
    "deformable-detr-r50": 8,
}


@pytest.mark.parametrize("profile", RECIPES)
def test_the_smallest_object_is_the_smallest_anchor_or_the_finest_stride(make_job, tmp_path, profile):
    job = make_job(profile=profile, loss=identity(PROFILES[profile].heads))
    visibility = visibility_of(profile, recipe_of(job, read_job_data(job, tmp_path).train))
    assert visibility.smallest_px == SMALLEST_PX[profile]
    assert visibility.limit.startswith(f"smaller than {SMALLEST_PX[profile]} px, the least that {profile} is made for")
