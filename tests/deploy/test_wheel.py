"""One wheel serves everybody: each extra, in a fresh environment with what it names and nothing else."""

import shutil
import subprocess
import sys
import tarfile
from importlib.metadata import version
from pathlib import Path
from zipfile import ZipFile

import pytest
from charts import ROOT
from environments import Environment

INFO = f"paploss-{version('paploss')}.dist-info"
SOURCES = ("paploss", "controller", "worker", "trainer", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in")
LOSS = """
import torch
from paploss.losses import ParameterizedAPLoss, identity_control_points
logits = torch.tensor([2.0, 1.0, 0.5], requires_grad=True)
loss = ParameterizedAPLoss(identity_control_points(knots=4))
loss(logits, torch.tensor([0.9, 0.0, 0.0]), torch.tensor([1, 0, 0])).backward()
assert logits.grad is not None
"""
CLIENT = """
from paploss.client import AsyncClient, Client, SearchSpec, TrainingSpec, UnreachableError
SearchSpec(profile="retinanet-tiny")
with Client("http://127.0.0.1:9", "key", attempts=1) as client:
    try:
        client.status()
    except UnreachableError:
        pass
"""
JOB = '{"trial_id": "t-0", "kind": "final", "profile": "synthetic", "schedule": "proxy", "loss": %s, "seed": 0}'


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel and the source distribution, built from a copy of the sources."""
    source, output = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    return _build(source, output, "wheel"), _build(source, output, "sdist")


def _build(source: Path, output: Path, kind: str) -> Path:
    script = f"import sys, setuptools.build_meta as backend; backend.build_{kind}(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, output], cwd=source, check=True, capture_output=True)
    (file,) = output.glob("*.whl" if kind == "wheel" else "*.tar.gz")
    return file


def _list_wheel(wheel: Path) -> dict[str, int]:
    with ZipFile(wheel) as archive:
        return {entry.filename: entry.CRC for entry in archive.infolist() if not entry.filename.endswith("RECORD")}


def test_the_wheel_holds_one_package_with_every_file_that_is_kept(built: tuple[Path, Path]) -> None:
    names = _list_wheel(built[0]).keys()
    assert {name.partition("/")[0] for name in names} == {"paploss", INFO}
    assert f"{INFO}/licenses/LICENSE" in names
    for folder in ("controller", "trainer", "worker", "paploss"):
        kept = "paploss" if folder == "paploss" else f"paploss/{folder}"
        files = [path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts]
        assert {f"{kept}/{path.relative_to(ROOT / folder)}" for path in files} <= names


def test_the_source_distribution_builds_the_same_wheel(built: tuple[Path, Path], tmp_path: Path) -> None:
    with tarfile.open(built[1]) as archive:
        archive.extractall(tmp_path, filter="data")
    (source,) = tmp_path.iterdir()
    assert not (source / "tests").exists()
    assert _list_wheel(_build(source, tmp_path, "wheel")) == _list_wheel(built[0])


def test_the_wheel_alone_says_what_the_command_line_needs(built: tuple[Path, Path], tmp_path: Path) -> None:
    done = Environment(tmp_path, built[0], ()).run("paploss", "list")
    assert done.returncode == 1
    assert "pip install 'paploss[client]'" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_losses_need_torch_alone(built: tuple[Path, Path], tmp_path: Path) -> None:
    environment = Environment(tmp_path, built[0], ["losses"])
    done = environment.run("python", "-c", LOSS)
    assert done.returncode == 0, done.stderr
    environment.import_all("paploss.losses")


@pytest.mark.slow
def test_the_client_has_both_clients_and_the_command_line(built: tuple[Path, Path], tmp_path: Path) -> None:
    environment = Environment(tmp_path, built[0], ["client"])
    done = environment.run("python", "-c", CLIENT)
    assert done.returncode == 0, done.stderr
    assert "Exit status: 0 done" in environment.run("paploss", "--help").stdout
    done = environment.run("paploss", "list", "--url", "http://127.0.0.1:9", PAPLOSS_KEY="k")
    assert (done.returncode, "no controller answers" in done.stderr) == (3, True)
    (tmp_path / "spec.yaml").write_text("profile: synthetic\n")
    for command, extra in {
        "up": "controller,worker",
        "serve": "controller",
        "migrate": "controller",
        "check": "controller",
        "report x": "controller",
        "mirror --mlflow x": "controller",
        "keys create ann --role admin --direct": "controller",
        "search spec.yaml": "controller,worker",
        "compare spec.yaml": "controller,worker",
        "train identity --profile synthetic": "trainer",
        "test detector.pth": "trainer",
        "split train.json --val 2": "trainer",
    }.items():
        done = environment.run("paploss", *command.split())
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert f"pip install 'paploss[{extra}]'" in done.stderr


@pytest.mark.slow
def test_a_controller_needs_its_extra_alone(built: tuple[Path, Path], tmp_path: Path) -> None:
    environment = Environment(tmp_path, built[0], ["controller"])
    assert environment.run("paploss", "migrate").stdout == "the database is up to date\n"
    environment.import_all("paploss.controller", without=("paploss.controller.store.migrations",))
    environment.import_all("paploss.cli", without=("paploss.cli.comparison_plot",))


@pytest.mark.slow
def test_a_worker_needs_its_extra_alone(built: tuple[Path, Path], tmp_path: Path) -> None:
    environment = Environment(tmp_path, built[0], ["worker"])
    environment.import_all("paploss.worker")
    assert "--controller-url" in environment.run("python", "-m", "paploss.worker", "--help").stdout


@pytest.mark.slow
def test_a_trainer_needs_its_extra_alone(built: tuple[Path, Path], tmp_path: Path) -> None:
    environment = Environment(tmp_path, built[0], ["trainer"])
    (tmp_path / "job.json").write_text(JOB % '{"name": "alrp"}')
    done = environment.run("python", "-m", "paploss.trainer", "run", "job.json", "--state", "state")
    assert '"outcome":"succeeded"' in done.stdout.replace(" ", ""), done.stderr
    # The bridges are for whoever has these frameworks; the launcher is run, not imported.
    bridges = "paploss.trainer.bridges.torchvision", "paploss.trainer.bridges.transformers"
    environment.import_all("paploss.trainer", without=("paploss.trainer.launch", *bridges))
