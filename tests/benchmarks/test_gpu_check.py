"""The check of a GPU, with its tiny sizes on the CPU: the same code, whose figures mean nothing."""

import json
from pathlib import Path

import pytest

from benchmarks import gpu_check
from benchmarks.gpu_check import PARTS, SMALL, main


def run(folder: Path, *parts: str) -> dict[str, object]:
    status = main(["--small", "--results", str(folder), "--steps", *parts])
    record: dict[str, object] = json.loads((folder / "gpu-check.json").read_text())
    assert status == len(record["failed"] or ()), record  # type: ignore[arg-type]
    return record


def test_losses_and_operators_agree_with_the_cpu_and_are_timed(tmp_path: Path) -> None:
    record = run(tmp_path, "operators", "losses", "records")
    assert record["failed"] == []
    assert record["losses"]["detector, N=1e+04"]["ratio"] > 0  # type: ignore[index]


def test_a_part_that_fails_is_named_and_the_others_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no kernel image is available for execution on the device")

    monkeypatch.setattr(gpu_check, "PARTS", PARTS | {"operators": broken})
    assert main(["--small", "--results", str(tmp_path), "--steps", "operators", "losses"]) == 1
    record = json.loads((tmp_path / "gpu-check.json").read_text())
    assert record["failed"] == ["operators"]
    assert "no kernel image" in record["operators"]["error"]
    assert record["losses"]


def test_a_difference_to_the_cpu_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "_difference", lambda *_: 0.5)
    monkeypatch.setattr(gpu_check, "take_steps", lambda *_: iter([(1.0, 0.1, {"loss": 1.0})]))
    with pytest.raises(gpu_check.PartError, match=r"parameterized_ap float32.*0\.5"):
        gpu_check.check_agreement(SMALL)


def test_without_a_gpu_it_says_so(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit):
        main([])
    assert "sees no GPU; --small tries the same code" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("part", ["agreement", "training", "search"])
def test_detectors_train_and_search(tmp_path: Path, part: str) -> None:
    record = run(tmp_path, part)
    assert record["failed"] == []
    assert record[part]
