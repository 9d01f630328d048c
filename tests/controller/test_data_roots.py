from pathlib import Path
from typing import Any

import pytest

from paploss.client.specs import SearchSpec
from paploss.controller.data_roots import PathRefusedError, check_files, check_paths

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
    assert list(caught.value.faults) == [field]


def test_without_data_roots_only_the_embedded_data_set_can_be_used() -> None:
    with pytest.raises(PathRefusedError, match="PAPLOSS_DATA_ROOTS"):
        check_paths(search(dataset=COCO), ())


def test_every_file_that_is_missing_is_named_before_anything_starts(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    (root / "train2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    (root / "annotations" / "search_train2017.json").touch()
    test = {"annotations": "annotations/test.json", "images": "test2017"}
    request = search(dataset={**COCO, "root": str(root), "test": test}, weights=str(tmp_path / "weights.pth"))
    with pytest.raises(PathRefusedError) as caught:
        check_files(request, [tmp_path])
    fields = ("weights", "dataset.val.annotations", "dataset.test.annotations", "dataset.test.images")
    assert tuple(caught.value.faults) == fields
    assert "did you mean 'annotations/search_train2017.json'?" in caught.value.faults["dataset.val.annotations"]


def test_files_in_a_root_that_this_machine_does_not_see_are_the_workers_affair(tmp_path: Path) -> None:
    request = search(dataset={**COCO, "root": str(tmp_path / "away" / "coco")})
    check_files(request, [tmp_path / "away"])
    (tmp_path / "away").mkdir()  # where the volume would be mounted
    check_files(request, [tmp_path / "away"])
