from pathlib import Path
from typing import Any

import pytest

from paploss.client.specs import SearchSpec
from paploss.controller.data_roots import PathRefusedError, check_paths

ROOTS = (Path("/data"), Path("/more/data"))
COCO = {
    "name": "coco",
    "root": "/data/coco",
    "train": {"annotations": "annotations/search_train2017.json", "images": "train2017"},
    "val": {"annotations": "annotations/search_val2017.json", "images": "train2017"},
}


def search(**changes: Any) -> SearchSpec:
    return SearchSpec.model_validate({"profile": "retinanet-tiny", **changes})


def test_paths_beneath_a_data_root_are_accepted() -> None:
    check_paths(search(), ())
    check_paths(search(dataset=COCO, weights="/more/data/resnet50.pth"), ROOTS)


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"dataset": {**COCO, "root": "/etc"}}, "dataset.root"),
        ({"dataset": {**COCO, "root": "/data/../etc"}}, "dataset.root"),
        ({"dataset": {**COCO, "root": "data/coco"}}, "dataset.root"),
        ({"dataset": {**COCO, "root": "/database"}}, "dataset.root"),
        ({"weights": "/root/.ssh/id"}, "weights"),
    ],
)
def test_paths_outside_the_data_roots_are_refused_by_field(changes: dict[str, Any], field: str) -> None:
    with pytest.raises(PathRefusedError, match=field) as caught:
        check_paths(search(**changes), ROOTS)
    assert caught.value.field == field


def test_without_data_roots_only_the_embedded_data_set_can_be_used() -> None:
    with pytest.raises(PathRefusedError, match="PAPLOSS_DATA_ROOTS"):
        check_paths(search(dataset=COCO), ())
