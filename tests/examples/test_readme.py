"""What the documentation shows of the losses runs, and its table says what the records say."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from paploss.jobs.losses import LOSSES
from paploss.jobs.presets import PRESETS
from paploss.jobs.published_results import PUBLISHED_RESULTS
from paploss.losses import APLoss

PAGES = Path(__file__).parents[2] / "docs" / "how-to"
PAGE, EXPORT_PAGE = ((PAGES / name).read_text() for name in ("use-the-losses.md", "export.md"))
NUMBERS = re.compile(r"AP (\S+), IoU (\d\.\d+)")


def test_the_example_learns_to_rank_and_to_fit_boxes(capsys: pytest.CaptureFixture[str]) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    exec(compile(example, "use-the-losses.md", "exec"), {})  # noqa: S102
    lines = [tuple(map(float, pair)) for pair in NUMBERS.findall(capsys.readouterr().out)]
    (first_ap, first_iou), (last_ap, last_iou) = lines[0], lines[-1]
    assert first_ap < 0.1
    assert last_ap > 0.95
    assert last_iou > first_iou + 0.4
    (shown,) = NUMBERS.findall(PAGE.split("the last line of output is")[1])
    assert (last_ap, last_iou) == pytest.approx(tuple(map(float, shown)), abs=0.05)


def test_the_table_of_losses_is_that_of_the_records() -> None:
    published = {(row.detector, row.loss): f"{100 * row.ap:.1f}" for row in PUBLISHED_RESULTS}
    for name, record in LOSSES.items():
        cells = [
            published.get((detector, record), "✓") if detector in record.rates else ""
            for detector in ("retinanet", "atss", "faster-rcnn", "deformable-detr")
        ]
        assert f"| `{name}` | {record.title} | {' | '.join(cells)} |" in PAGE


@pytest.mark.parametrize("error_driven", [False, True])
def test_a_found_loss_is_taken_from_its_file_as_the_page_says(error_driven, tmp_path, monkeypatch):
    loss = PRESETS["retinanet"]
    if error_driven:
        head = loss.heads["bbox_head"].model_copy(update={"error_driven": True})
        loss = loss.model_copy(update={"heads": {"bbox_head": head}})
    (tmp_path / "ID.json").write_text(json.dumps({"loss": loss.model_dump(mode="json")}))
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    exec(compile(re.findall(r"```python\n(.*?)```", EXPORT_PAGE, re.DOTALL)[-1], "export.md", "exec"), names)  # noqa: S102
    if error_driven:
        assert isinstance(names["loss"], APLoss)
    else:
        assert names["loss"].control_points.tolist() == [
            [list(point) for point in row] for row in loss.heads["bbox_head"].control_points
        ]
