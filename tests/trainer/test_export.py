"""What a final training leaves, as mmdet's own programs take it."""

import json

import numpy as np
import torch
from mmdet.apis import inference_detector, init_detector

from paploss.jobs.metrics import Metrics
from paploss.trainer.config import mmdet_config
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import build_detector
from paploss.trainer.export import keep_final
from paploss.trainer.profiles import recipe_of

METRICS = Metrics(ap=0.5, ap50=0.6, ap75=0.5, ap_small=-1, ap_medium=0.5, ap_large=0.5)


def test_mmdet_detects_with_the_weights_and_knows_the_names_of_their_classes(make_job, tmp_path):
    job = make_job(kind="final")
    data = read_job_data(job, tmp_path)
    recipe = recipe_of(job, data.train)
    trained = build_detector(recipe.model, seed=3)
    config = mmdet_config(job, data, recipe)
    weights = keep_final(tmp_path / "final", trained, job, METRICS, config=config, environment={"device": "here"})
    detector = init_detector(str(tmp_path / "final" / "config.py"), str(weights), device="cpu")
    assert detector.dataset_meta["classes"] == ["digit 0", "digit 1", "digit 2"]
    assert all(torch.equal(value, detector.state_dict()[name]) for name, value in trained.state_dict().items())
    found = inference_detector(detector, np.zeros((80, 80, 3), np.uint8)).pred_instances
    assert len(found.bboxes) == len(found.scores) == len(found.labels)
    origin = json.loads((tmp_path / "final" / "origin.json").read_text())
    assert origin == {
        "job": job.model_dump(mode="json"),
        "metrics": METRICS.model_dump(mode="json"),
        "environment": {"device": "here"},
    }
