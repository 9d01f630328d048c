import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from paploss.jobs.losses import LOSSES
from paploss.jobs.presets import PRESETS
from paploss.trainer.config import mmdet_config, write_config
from paploss.trainer.datasets.sources import read_job_data
from paploss.trainer.detectors import MODELS
from paploss.trainer.heads.balancing import BalancingHook
from paploss.trainer.heads.retina_head import RankingRetinaHead
from paploss.trainer.profiles import recipe_of


@pytest.fixture
def written(make_job, tmp_path):
    def write(**changes) -> Config:
        job = make_job(**changes)
        data = read_job_data(job, tmp_path)
        file = tmp_path / "config.py"
        write_config(mmdet_config(job, data, recipe_of(job, data.train)), file)
        return Config.fromfile(file)

    return write


def test_mmengine_reads_it_and_builds_the_detector(written):
    config = written()
    assert config.custom_imports.imports == ["paploss.trainer.heads"]
    detector = MODELS.build(config.model)
    assert isinstance(detector.bbox_head, RankingRetinaHead)
    assert detector.bbox_head.objective.gradient_scale == PRESETS["retinanet"].heads["bbox_head"].gradient_scale


def test_both_heads_of_a_faster_rcnn_keep_their_own_parameters(written):
    config = written(profile="faster-rcnn-tiny", loss=PRESETS["faster-rcnn"])
    detector = MODELS.build(config.model)
    for name, head in (("rpn_head", detector.rpn_head), ("bbox_head", detector.roi_head.bbox_head)):
        parameters = PRESETS["faster-rcnn"].heads[name]
        assert head.objective.gradient_scale == parameters.gradient_scale
        points = [[list(point) for point in row] for row in parameters.control_points]
        assert head.objective.control_points.tolist() == points


@pytest.mark.parametrize(("profile", "preset"), [("retinanet-tiny", "retinanet"), ("faster-rcnn-tiny", "faster-rcnn")])
def test_mmdets_runner_trains_a_step_of_it(written, tmp_path, profile, preset):
    config = written(profile=profile, loss=PRESETS[preset])
    config.work_dir = str(tmp_path / "work")
    config.experiment_name = profile  # else mmengine names it by the second, and knows two of one second by one name
    for loader in (config.train_dataloader, config.val_dataloader):
        loader.num_workers, loader.persistent_workers = 0, False
    runner = Runner.from_cfg(config)
    assert any(isinstance(hook, BalancingHook) for hook in runner.hooks)
    loader = runner.build_dataloader(config.train_dataloader)
    assert len(loader.dataset) == 12
    wrapper = runner.build_optim_wrapper(config.optim_wrapper)
    before = [parameter.detach().clone() for parameter in runner.model.parameters()]
    losses = runner.model.train_step(next(iter(loader)), wrapper)
    assert losses["loss"].isfinite()
    assert not all(map(torch.equal, before, runner.model.parameters()))


@pytest.mark.parametrize("name", ["focal_l1", "focal_giou"])
def test_baselines_use_mmdets_own_head(written, name):
    assert written(loss=LOSSES[name]()).model.bbox_head.type == "RetinaHead"


def test_the_published_final_schedule(written):
    config = written(profile="retinanet-r50", schedule="final", weights="/weights/resnet50.pth", overrides={})
    assert config.train_cfg.max_epochs == 100
    assert config.optim_wrapper.optimizer.to_dict() == {
        "type": "SGD",
        "momentum": 0.9,
        "lr": 0.016,
        "weight_decay": 1e-4,
    }
    assert config.param_scheduler[1].milestones == [60, 80]
    assert config.model.backbone.init_cfg.checkpoint == "/weights/resnet50.pth"
    assert config.train_dataloader.batch_size == 64


def test_each_gpu_gets_its_part_of_a_batch(written):
    config = written(gpus=2, overrides={"batch_size": 8})
    loaders = (config.train_dataloader, config.val_dataloader, config.test_dataloader)
    assert [loader.batch_size for loader in loaders] == [4, 4, 4]
    assert written(gpus=4, overrides={"batch_size": 2}).train_dataloader.batch_size == 1


def test_a_cosine_ends_with_the_training_and_gradients_are_clipped(written):
    config = written(overrides={"epochs": 3})
    warmup, cosine = config.param_scheduler
    assert (warmup.type, warmup.start_factor, warmup.begin, warmup.end) == ("LinearLR", 0.001, 0, 50)
    assert (cosine.type, cosine.T_max, cosine.end, cosine.by_epoch) == ("CosineAnnealingLR", 3, 3, True)
    assert cosine.convert_to_iter_based
    assert config.optim_wrapper.clip_grad.max_norm == 10
    assert config.optim_wrapper.optimizer.type == "AdamW"


def test_only_training_leaves_out_images_without_objects_and_shuffles(written):
    config = written()
    assert config.train_dataloader.dataset.filter_cfg.filter_empty_gt
    assert config.train_dataloader.sampler.shuffle
    for loader in (config.val_dataloader, config.test_dataloader):
        assert loader.dataset.test_mode
        assert "filter_cfg" not in loader.dataset
        assert not loader.sampler.shuffle
