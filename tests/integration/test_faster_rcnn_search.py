"""A search over both heads of a Faster R-CNN, with real trainings, from the request to the exported detector."""

import json
from pathlib import Path

import pytest
from mmengine.config import Config
from stack import Stack
from typer.testing import CliRunner

from paploss.cli.main import app
from paploss.controller.search.space import Space
from paploss.jobs.losses import parse_loss
from paploss.jobs.presets import PRESETS
from paploss.trainer.detectors import MODELS

HEADS = ("rpn_head", "bbox_head")
SPEC = {
    "profile": "faster-rcnn-tiny",
    "trials_per_round": 2,
    "overrides": {"epochs": 1, "image_size_px": 64},
    "confirm": {"candidates": 1, "seeds": 1, "published": True},
}


@pytest.mark.slow
def test_a_search_finds_and_exports_a_loss_for_each_head(tmp_path: Path, redis_url: str, monkeypatch):
    with Stack(tmp_path, redis_url) as stack:
        stack.start_controller()
        stack.start_worker("w0")
        stack.start_worker("w1")
        experiment_id = stack.submit(**SPEC)
        stack.wait_for(experiment_id, "succeeded")

        trials = stack.trials(experiment_id)
        assert [trial["state"] for trial in trials] == ["succeeded"] * len(trials)
        losses = [parse_loss(stack.get(f"trials/{trial['id']}")["loss"], strict=True) for trial in trials]
        assert all(tuple(loss.heads) == HEADS for loss in losses)
        assert PRESETS["faster-rcnn"] in losses
        assert Space(HEADS).dimension == 82

        for head in HEADS:
            figure = stack.get(f"experiments/{experiment_id}/figures/functions", head=head)
            assert {"best loss", "published"} <= {curve.get("name") for curve in figure["data"]}
            assert head in stack.http.get(f"{stack.url}/experiments/{experiment_id}").text

        monkeypatch.setenv("PAPLOSS_CONTROLLER_URL", stack.url)
        monkeypatch.setenv("PAPLOSS_KEY", stack.admin_key)
        exported = CliRunner().invoke(app, ["export", experiment_id, "--out", str(tmp_path / "loss.json"), "--json"])
        assert exported.exit_code == 0, exported.stderr
    files = json.loads(exported.stdout)["files"]
    found = parse_loss(json.loads(Path(files["json"]).read_text())["loss"], strict=True)
    config = Config.fromfile(files["mmdet"])
    assert config.custom_imports.imports == ["paploss.trainer.heads"]
    detector = MODELS.build(config.model)
    for name, head in zip(HEADS, (detector.rpn_head, detector.roi_head.bbox_head), strict=True):
        points = [[list(point) for point in row] for row in found.heads[name].control_points]
        assert head.objective.control_points.tolist() == points
        assert head.objective.gradient_scale == found.heads[name].gradient_scale
