"""`paploss init`, with the real trainer on LabelImg's files, which have no lists."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from paploss.cli.failures import BAD_INPUT, FAILED
from paploss.cli.main import app
from paploss.cli.preparing import Baseline, choose_epochs, estimate_seconds
from paploss.cli.specifications import read_search
from paploss.client.specs import SearchSpec

BOX = "<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox>"
OBJECT = f"<object><name>disc</name>{BOX}</object>"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs with an XML file beside each, as LabelImg leaves them."""
    generator = np.random.default_rng(0)
    root = tmp_path / "discs"
    root.mkdir()
    for number in range(15):
        pixels = generator.integers(0, 60, (64, 64, 3), dtype=np.uint8)
        x, y = (int(place) for place in generator.integers(16, 48, 2))
        cv2.circle(pixels, (x, y), 12, (255, 255, 255), -1)
        cv2.imwrite(str(root / f"{number}.png"), pixels)
        size = "<size><width>64</width><height>64</height><depth>3</depth></size>"
        box = OBJECT.format(x - 12, y - 12, x + 12, y + 12)
        xml = f"<annotation><filename>{number}.png</filename>{size}{box}</annotation>"
        (root / f"{number}.xml").write_text(xml)
    return root


def run(*arguments: object):
    return CliRunner().invoke(app, [str(word) for word in arguments])


def test_the_first_epoch_that_can_rank_losses_is_chosen():
    assert choose_epochs([(1, 0.2), (2, 0.01), (3, 0.03), (4, 0.2)]) == (3, 0.03, True)
    assert choose_epochs([(1, 0.0), (2, 0.004)]) == (2, 0.004, False)


def test_the_estimate_counts_proxies_and_confirmations():
    spec = SearchSpec(profile="retinanet-tiny", rounds=2, trials_per_round=4)
    assert estimate_seconds(spec, Baseline(3, 0.1, 10.0, True), gpus=0) == (8 + 4 * 5) * 3 * 10
    assert estimate_seconds(spec, Baseline(3, 0.1, 10.0, True), gpus=2) == (8 + 4 * 5) * 3 * 5


@pytest.mark.slow
def test_a_folder_of_labelimg_becomes_three_parts_a_baseline_and_a_specification(folder, tmp_path):
    told = run("init", folder, "--output", tmp_path / "out", "--epochs", 2)
    output = tmp_path / "out"
    parts = ("train", "val", "test")
    assert [len(json.loads((output / f"{part}.json").read_text())["images"]) for part in parts] == [9, 3, 3]
    spec = read_search(output / "search.yaml")
    assert (spec.profile, spec.dataset.root, spec.overrides.epochs) == ("retinanet-tiny", str(output), 2)
    # Two epochs of nine images teach nothing, which is said and is no success.
    assert told.exit_code == FAILED
    assert "too low to rank losses" in told.output
    assert "raise overrides.epochs" in told.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--profile", "synthetic"), "--profile: expected one of"),
        (("--output", "inside"), "expected a folder outside"),
    ],
)
def test_what_cannot_be_is_refused_before_anything_is_written(folder, words, said):
    if words[1] == "inside":
        words = ("--output", folder / "inside")
    told = run("init", folder, *words)
    assert told.exit_code == BAD_INPUT
    assert said in told.stderr
    assert not (folder / "inside").exists()
