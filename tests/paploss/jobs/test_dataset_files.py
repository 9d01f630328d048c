"""What a request names is looked for in the data set alone, whatever its folders are replaced by meanwhile."""

import threading
from pathlib import Path

from paploss.jobs.dataset_files import find_missing
from paploss.jobs.spec import DatasetSpec

SPLIT = {"annotations": "annotations/trains.json", "images": "annotations"}


def test_names_beside_a_missing_file_are_suggested_from_inside_the_data_set_alone(tmp_path: Path) -> None:
    root, outside = tmp_path / "set", tmp_path / "outside"
    for folder, name in ((root / "inside", "train.json"), (outside, "train5.json")):
        folder.mkdir(parents=True)
        (folder / name).touch()
    dataset = DatasetSpec.model_validate({"name": "set", "root": str(root), "train": SPLIT, "val": SPLIT})
    link, ended = root / "annotations", threading.Event()

    def swap() -> None:
        while not ended.is_set():
            for target in (root / "inside", outside):
                (root / "new").symlink_to(target)
                (root / "new").replace(link)

    link.symlink_to(outside)
    assert find_missing(dataset, None)["dataset.train.annotations"] == f"{link / 'trains.json'}: no such file"
    swapping = threading.Thread(target=swap)
    swapping.start()
    told = {find_missing(dataset, None)["dataset.train.annotations"] for _ in range(2000)}
    ended.set()
    swapping.join()
    assert not any("train5" in each for each in told)


def test_a_link_within_the_data_set_is_followed(tmp_path: Path) -> None:
    (tmp_path / "inside").mkdir()
    (tmp_path / "inside" / "train.json").touch()
    (tmp_path / "annotations").symlink_to(tmp_path / "inside")
    dataset = DatasetSpec.model_validate({"name": "set", "root": str(tmp_path), "train": SPLIT, "val": SPLIT})
    told = find_missing(dataset, None)["dataset.train.annotations"]
    assert told.endswith("did you mean 'annotations/train.json'?")


def test_the_file_of_another_split_is_not_suggested(tmp_path: Path) -> None:
    for name in ("train.json", "valid.json"):
        (tmp_path / name).touch()
    splits = {name: {"annotations": f"{name}.json", "images": "."} for name in ("train", "val", "test")}
    told = find_missing(DatasetSpec.model_validate({"name": "set", "root": str(tmp_path)} | splits), None)
    assert told == {
        "dataset.val.annotations": f"{tmp_path / 'val.json'}: no such file; did you mean 'valid.json'?",
        "dataset.test.annotations": f"{tmp_path / 'test.json'}: no such file",
    }


def test_a_name_longer_than_any_files_is_missing(tmp_path: Path) -> None:
    split = {"annotations": "a" * 300, "images": "a" * 300}
    given = {"name": "set", "root": str(tmp_path), "train": split, "val": split}
    missing = find_missing(DatasetSpec.model_validate(given), str(tmp_path / ("a" * 300)))
    assert set(missing) == {"weights"} | {f"dataset.{part}.{one}" for part in ("train", "val") for one in split}
    root = {"root": str(tmp_path / ("a" * 300))}
    assert set(find_missing(DatasetSpec.model_validate(given | root), None)) == {"dataset.root"}
