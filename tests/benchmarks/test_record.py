"""Records say under which conditions they were measured, and `make bench` repeats them under the same."""

import json
import re
from pathlib import Path

import pytest

from benchmarks import record
from benchmarks.__main__ import BENCHMARKS, ON_IMAGES


def test_a_record_of_other_conditions_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "RESULTS", tmp_path)
    first = record.write_record("loss-cpu", (), {"threads": 1, "clock": "wall", "ratio": 2.0})
    again = record.write_record("loss-cpu", (), {"threads": 1, "clock": "wall", "ratio": 3.0})
    other = record.write_record("loss-cpu", (), {"threads": 2, "clock": "wall", "ratio": 4.0})
    both = record.write_record("loss-cpu", (), {"threads": 2, "clock": "cpu", "ratio": 5.0})
    assert [path.name for path in (first, again, other, both)] == [
        "loss-cpu.json",
        "loss-cpu.json",
        "loss-cpu-2-threads.json",
        "loss-cpu-2-threads-cpu-clock.json",
    ]
    assert json.loads(first.read_text())["ratio"] == 3.0


def test_what_goes_on_with_a_record_says_itself_where_it_comes_from(tmp_path: Path) -> None:
    file = tmp_path / "family.json"
    assert record.read_parts(file, ("found", "parts")) == {"found": {}, "parts": {}}
    file.write_text(json.dumps({"commit": "0" * 40, "machine": {}, "found": {"1": {"ap": 0.4}}}))
    assert record.read_parts(file, ("found", "parts")) == {"found": {"1": {"ap": 0.4}}, "parts": {}}


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("sse avx avx2 avx512f", "avx512f"), ("avx avx2", "avx2"), ("asimd", "unknown"), ("", "unknown")],
)
def test_a_record_names_the_widest_vector_instructions(flags: str, expected: str) -> None:
    assert record._vectors(flags.split()) == expected


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_is_repeated_as_its_record_was_measured(name: str) -> None:
    measured = json.loads((record.RESULTS / f"{name}.json").read_text())
    (module, *options) = BENCHMARKS[name]
    given = dict(zip(options[::2], options[1::2], strict=True))
    assert int(given.get("--threads", 0)) == measured.get("threads", 0)
    assert given.get("--clock", "wall") == measured.get("clock", "wall")
    assert (measured.get("dataset") == "bccd") == (name in ON_IMAGES)
    source = (record.RESULTS.parent / f"{module}.py").read_text()
    amounts = measured | measured.get("renewals", {})
    for amount in ("epochs", "searches", "steps", "workers"):
        if amount in amounts and re.search(rf'add_argument\(\s*"--{amount}"', source):
            assert given[f"--{amount}"] == str(amounts[amount])
