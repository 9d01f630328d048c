"""The commands for data sets, with the real trainer."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from privileges import bound_by_permissions
from typer.testing import CliRunner

from paploss.cli.failures import BAD_INPUT, FAILED
from paploss.cli.main import app

SPEC = """
name: cells
profile: retinanet-tiny
dataset:
  name: cells
  root: {root}
  train: {{annotations: train.json, images: images}}
  val: {{annotations: val.json, images: images}}
rounds: 1
trials_per_round: 2
"""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A sound data set with a specification beside it; its class is named like markup."""
    generator = np.random.default_rng(0)
    (tmp_path / "images").mkdir()
    for number, part in enumerate(("train", "val"), 1):
        pixels = generator.integers(0, 255, (64, 64, 3), dtype=np.uint8)
        cv2.imwrite(str(tmp_path / "images" / f"{number}.png"), pixels)
        content = {
            "images": [{"id": number, "file_name": f"{number}.png", "width": 64, "height": 64}],
            "annotations": [{"image_id": number, "category_id": 1, "bbox": [5, 5, 40, 40]}],
            "categories": [{"id": 1, "name": "[/x] cell"}],
        }
        (tmp_path / f"{part}.json").write_text(json.dumps(content))
    (tmp_path / "cells.yaml").write_text(SPEC.format(root="."))
    return tmp_path


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "80"})


def test_doctor_shows_a_folder_and_a_specification_within_80_columns(root):
    for target in (root, root / "cells.yaml"):
        told = run("doctor", target, "--profile", "retinanet-tiny")
        assert told.exit_code == 0
        assert "[/x] cell" in told.output
        assert "ok: this data set can be trained on" in told.output
        assert all(len(line) <= 80 for line in told.output.splitlines() if str(root) not in line)


def test_doctor_fails_where_a_data_set_cannot_be_trained_on(root):
    (root / "images" / "2.png").write_bytes(b"")
    told = run("doctor", root)
    assert told.exit_code == FAILED
    assert "2.png: cannot be read as an image: it is empty" in told.output
    report = json.loads(run("doctor", root, "--json").output)
    assert report["verdict"] == "errors"
    assert run("doctor", root, "--no-check").exit_code == 0


def test_doctor_writes_a_page(root):
    told = run("doctor", root, "--html", root / "page.html")
    assert told.output.splitlines()[-1] == f"page: {root / 'page.html'}"
    assert "[/x] cell" in (root / "page.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none"], "none: no such file or folder"),
        ([".", "--profile", "none"], "--profile: expected one of"),
        ([".", "--html", "none/page.html"], "none/page.html: cannot be written: No such file"),
    ],
)
def test_doctor_refuses_what_it_cannot_do(root, monkeypatch, arguments, message):
    monkeypatch.chdir(root)
    told = run("doctor", *arguments)
    assert told.exit_code == BAD_INPUT
    assert message in told.output


@pytest.mark.parametrize("command", ["search", "compare"])
def test_nothing_is_started_on_a_data_set_with_errors(root, command):
    if command == "compare":
        spec = SPEC.partition("rounds")[0] + "losses: [focal_giou]\nseeds: [1]\n"
        (root / "cells.yaml").write_text(spec.format(root="."))
    (root / "images" / "2.png").write_bytes(b"")
    told = run(command, root / "cells.yaml", "--state", root / "state")
    assert told.exit_code == BAD_INPUT
    assert "2.png: cannot be read as an image: it is empty" in told.output
    assert not (root / "state").exists()


@pytest.mark.parametrize("command", ["search", "doctor"])
def test_a_reward_that_the_data_set_cannot_measure_is_refused(root, command):
    (root / "cells.yaml").write_text(SPEC.format(root=".") + "reward: {class: '[/x] sell'}\n")
    told = run(command, root / "cells.yaml", *([] if command == "doctor" else ["--state", root / "state"]))
    assert told.exit_code == (FAILED if command == "doctor" else BAD_INPUT)
    assert "there is no class '[/x] sell'; expected one of [/x] cell" in " ".join(told.output.split())
    assert not (root / "state").exists()


def test_a_root_may_begin_with_a_tilde(root, monkeypatch):
    monkeypatch.setenv("HOME", str(root.parent))
    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    (root / "cells.yaml").write_text(SPEC.format(root=f"~/{root.name}"))
    assert run("doctor", root / "cells.yaml").exit_code == 0
    (root / "cells.yaml").write_text(SPEC.format(root="~nobody-of-this-name/x"))
    told = run("doctor", root / "cells.yaml")
    assert told.exit_code == BAD_INPUT
    assert "~nobody-of-this-name/x" in told.output


def test_convert_recognises_the_layout_and_says_what_was_written(root):
    told = run("convert", root, "--output", root / "out")
    assert told.exit_code == 0
    assert told.output.splitlines() == [
        f"{root}/out/train.json: images 1, objects 1",
        f"{root}/out/val.json: images 1, objects 1",
        "classes: [/x] cell",
    ]
    again = run("convert", root, "--output", root / "out", "--json", "--overwrite")
    assert json.loads(again.output)["layout"] == "COCO"
    refused = run("convert", root, "--output", root / "voc", "--layout", "voc")
    assert refused.exit_code == BAD_INPUT


def test_a_split_names_the_classes_that_are_not_in_both_parts(root):
    content = json.loads((root / "train.json").read_text())
    content["images"].append({"id": 9, "file_name": "2.png", "width": 64, "height": 64})
    (root / "train.json").write_text(json.dumps(content))
    told = run("split", root / "train.json", "--val", 1)
    assert told.exit_code == 0
    assert (
        told.output.splitlines()[-1]
        == "warning: class '[/x] cell' (id 1) is in one image: it is in the training part alone"
    )


def test_a_file_of_any_split_that_is_missing_starts_nothing(root):
    (root / "train.json").rename(root / "trian.json")
    told = run("search", root / "cells.yaml", "--state", root / "state")
    assert told.exit_code == BAD_INPUT
    assert "dataset.train.annotations" in told.output
    assert "no such file; did you mean 'trian.json'?" in " ".join(told.output.split())
    assert not (root / "state").exists()


def test_a_search_on_a_data_set_in_a_closed_folder_names_it(root, tmp_path):
    folder = tmp_path / "closed" / "cells"
    folder.mkdir(parents=True)
    (root / "images").rename(folder / "images")
    file = tmp_path / "search.yaml"
    file.write_text(SPEC.format(root=folder))
    command = bound_by_permissions(sys.executable, "-m", "paploss.cli", "search", file, "--state", tmp_path / "state")
    folder.parent.chmod(0)
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    finally:
        folder.parent.chmod(0o700)
    assert done.returncode == BAD_INPUT
    assert f"dataset: {folder}: cannot be read: Permission denied" in done.stderr.replace("\n", "")


def test_a_description_of_yolo_is_not_taken_for_a_search_on_the_embedded_images(tmp_path):
    file = tmp_path / "data.yaml"
    file.write_text("train: images/train\nval: images/val\nnames: [cell]\n")
    told = run("doctor", file)
    assert told.exit_code == BAD_INPUT
    assert f"{file}: expected a specification" in told.output.replace("\n", "")
    assert "name the folder" in told.output
