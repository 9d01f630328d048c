import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import HorizontalBoxes
from mmengine.structures import InstanceData

from paploss.trainer.datasets.batches import pack, unpack

CPU = torch.device("cpu")


def sample(number: int, objects: int, crowds: int, side: int = 8) -> dict:
    """As the training pipelines give it; all numbers follow from `number`."""
    found = DetDataSample(metainfo={"img_id": number, "scale_factor": (0.5, 0.5)})
    boxes = torch.arange(4.0 * (objects + crowds)).reshape(-1, 4) + 100 * number
    labels = torch.arange(objects + crowds) + number
    found.gt_instances = InstanceData(bboxes=HorizontalBoxes(boxes[:objects]), labels=labels[:objects])
    found.ignored_instances = InstanceData(bboxes=HorizontalBoxes(boxes[objects:]), labels=labels[objects:])
    return {"inputs": torch.full((3, side, 8), number, dtype=torch.uint8), "data_samples": found}


def test_what_is_packed_comes_out_again():
    samples = [sample(1, 2, 1), sample(2, 0, 0), sample(3, 1, 2)]
    batch = unpack(pack(samples), CPU)
    assert torch.equal(batch["inputs"], torch.stack([one["inputs"] for one in samples]))
    for found, given in zip(batch["data_samples"], (one["data_samples"] for one in samples), strict=True):
        assert found.metainfo == given.metainfo
        for own, expected in (
            (found.gt_instances, given.gt_instances),
            (found.ignored_instances, given.ignored_instances),
        ):
            assert torch.equal(own.bboxes, expected.bboxes.tensor)
            assert torch.equal(own.labels, expected.labels)


def test_images_of_several_sizes_stay_apart():
    images = unpack(pack([sample(1, 1, 0), sample(2, 1, 0, side=16)]), CPU)["inputs"]
    assert [tuple(image.shape) for image in images] == [(3, 8, 8), (3, 16, 8)]


def test_a_training_batch_is_three_tensors_however_many_images_it_has():
    packed = pack([sample(number, 3, 1) for number in range(64)])
    assert sum(isinstance(part, torch.Tensor) for part in packed) == 3
    assert not any(isinstance(part, torch.Tensor) for part in (*packed.counts, *packed.metainfo[0].values()))


def test_test_images_have_no_boxes():
    bare = {"inputs": torch.zeros(3, 8, 8), "data_samples": DetDataSample(metainfo={"img_id": 7})}
    bare["data_samples"].gt_instances = bare["data_samples"].ignored_instances = InstanceData()
    (found,) = unpack(pack([bare]), CPU)["data_samples"]
    assert found.img_id == 7
    assert len(found.gt_instances) == 0


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_pinned_batches_reach_the_gpu_in_three_copies():
    packed = pack([sample(1, 2, 1), sample(2, 0, 0)])
    pinned = torch.utils.data._utils.pin_memory.pin_memory(packed)
    assert pinned.images.is_pinned()
    batch = unpack(pinned, torch.device("cuda"))
    assert batch["inputs"].is_cuda
    assert all(one.gt_instances.bboxes.is_cuda for one in batch["data_samples"])
