import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from privileges import bound_by_permissions

from paploss.client.specs import SearchSpec
from paploss.controller.data_roots import PathRefusedError, check_files, check_paths, find_datasets, narrow

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


def test_a_project_keeps_no_root_that_the_operator_has_taken_away() -> None:
    assert narrow(ROOTS, ["/data/lab", "/gone", "/database"]) == [Path("/data/lab")]
    assert narrow(ROOTS, ["/gone"]) == []
    assert narrow(ROOTS, []) == ROOTS


def test_every_file_that_is_missing_is_named_before_anything_starts(tmp_path: Path) -> None:
    root = tmp_path / "coco"
    (root / "train2017").mkdir(parents=True)
    (root / "annotations").mkdir()
    for name in ("search_train2017.json", "search_val_2017.json"):
        (root / "annotations" / name).touch()
    test = {"annotations": "annotations/test.json", "images": "test2017"}
    request = search(dataset={**COCO, "root": str(root), "test": test}, weights=str(tmp_path / "weights.pth"))
    with pytest.raises(PathRefusedError) as caught:
        check_files(request, [tmp_path])
    fields = ("weights", "dataset.val.annotations", "dataset.test.annotations", "dataset.test.images")
    assert tuple(caught.value.faults) == fields
    assert "did you mean 'annotations/search_val_2017.json'?" in caught.value.faults["dataset.val.annotations"]


def test_files_in_a_root_that_this_machine_does_not_see_are_the_workers_affair(tmp_path: Path) -> None:
    request = search(dataset={**COCO, "root": str(tmp_path / "away" / "coco")})
    check_files(request, [tmp_path / "away"])
    (tmp_path / "away").mkdir()  # where the volume would be mounted
    check_files(request, [tmp_path / "away"])


LOOK = """
import json, sys
from pathlib import Path
from paploss.client.specs import SearchSpec
from paploss.controller.data_roots import PathRefusedError, check_files, find_datasets
roots = [Path(sys.argv[1])]
request = SearchSpec.model_validate_json(sys.argv[2])
try:
    check_files(request, roots)
    faults = {}
except PathRefusedError as error:
    faults = error.faults
print(json.dumps([[each.name for each in find_datasets(roots)], faults]))
"""


@pytest.mark.parametrize("closed", ["set", "."], ids=["a data set", "the root"])
def test_folders_that_the_controller_may_not_look_into_break_nothing(tmp_path: Path, closed: str) -> None:
    for name in ("open", "set"):
        (tmp_path / name / "images").mkdir(parents=True)
        for part in ("train", "val"):
            (tmp_path / name / f"{part}.json").touch()
    split = {"annotations": "none.json", "images": "none"}
    request = search(dataset={"name": "set", "root": str(tmp_path / "set"), "train": split, "val": split})
    command = bound_by_permissions(sys.executable, "-c", LOOK, tmp_path, request.model_dump_json())
    (tmp_path / closed).chmod(0)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=os.sep)
    finally:
        (tmp_path / closed).chmod(0o700)
    offered = [] if closed == "." else ["open"]
    assert json.loads(done.stdout or "null") == [offered, {}], done.stderr


def test_links_that_are_swapped_while_it_looks_offer_no_data_set_outside(tmp_path: Path) -> None:
    root, outside = tmp_path / "root", tmp_path / "outside"
    for folder in (root / "set", outside):
        (folder / "images").mkdir(parents=True)
        for part in ("train", "val"):
            (folder / f"{part}.json").touch()
    (root / "link").symlink_to(outside)
    (root / "loop").symlink_to(root / "loop")
    assert [each.root for each in find_datasets([root])] == [str(root / "set")]
