"""Texts that checkpoints of other versions hold."""

import pytest

from paploss.jobs.losses import FocalL1, HandmadeAP, ParameterizedAP
from paploss.jobs.presets import identity
from paploss.jobs.spec import JobSpec
from paploss.trainer.fingerprint import job_fingerprint, loss_fingerprint

JOB_OF_0_1_0 = (
    '{"schema_version":1,"kind":"proxy","profile":"retinanet-tiny","schedule":"proxy","overrides":{"epochs":null,'
    '"batch_size":null,"learning_rate":null,"image_size_px":null,"precision":"float32"},"learning_rate_factor":1.0,'
    '"dataset":{"name":"digits","root":"","train":null,"val":null,"test":null},"evaluate_split":"val","loss":{"name":'
    '"focal_l1","heads":{},"form":null,"top_k":null},"seed":3,"weights":null,"gpus":0,"gather_scores":false,'
    '"synthetic":null}'
)


def test_a_job_is_written_as_0_1_0_wrote_it():
    job = JobSpec(trial_id="t1", profile="retinanet-tiny", loss=FocalL1(), seed=3)
    assert job_fingerprint(job) == JOB_OF_0_1_0


def test_the_name_and_the_limits_of_a_job_are_not_in_it():
    job = JobSpec(trial_id="t1", profile="retinanet-tiny", loss=FocalL1(), seed=3)
    other = job.model_copy(update={"trial_id": "t2", "timeout_seconds": 5.0})
    assert job_fingerprint(other) == JOB_OF_0_1_0
    shorter = job.model_copy(update={"length": 0.5, "continues": "t0"})
    assert job_fingerprint(shorter) == JOB_OF_0_1_0
    assert job_fingerprint(job.model_copy(update={"seed": 4})) != JOB_OF_0_1_0


@pytest.mark.parametrize(
    ("loss", "text"),
    [
        (HandmadeAP(form="linear", top_k=5), '{"name":"handmade_ap","heads":{},"form":"linear","top_k":5}'),
        (
            ParameterizedAP(heads=identity(["bbox_head"], knots=0).heads),
            '{"name":"parameterized_ap","heads":{"bbox_head":{"control_points":['
            + ",".join(["[[0.0,0.0],[1.0,1.0]]"] * 5)
            + '],"gradient_scale":1.0,"quality":"giou"}},"form":null,"top_k":null}',
        ),
    ],
)
def test_a_loss_is_written_with_the_fields_of_every_loss(loss, text):
    assert loss_fingerprint(loss) == text
