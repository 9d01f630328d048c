"""What lies ready for deployment is complete and up to date."""

import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import make_chart_readme
import make_kustomize
import make_requirements
import pytest
import yaml
from charts import REDIS_CONFIGURATION, ROOT, start_redis
from packaging.requirements import Requirement

from paploss.trainer.environment import FORKS

COMPOSE, GPU_COMPOSE = ROOT / "docker-compose.yml", ROOT / "docker-compose.gpu.yml"


@pytest.mark.parametrize("name", make_requirements.FILES)
def test_the_images_install_what_the_lock_says(name: str) -> None:
    file = ROOT / "deploy" / "requirements" / f"{name}.txt"
    assert file.read_text() == make_requirements.render(name), "run deploy/make_requirements.py"


def test_the_controllers_image_holds_no_torch() -> None:
    names = {line.partition("==")[0] for line in make_requirements.list_requirements("controller")}
    assert not {"torch", "mmcv", "mmdet", "mmengine", "pytest"} & names


def test_the_trainer_with_the_forks_differs_in_them_alone() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    released, forks = (
        {Requirement(line).name for line in extras[extra]} - {"paploss"} for extra in ("trainer", "trainer-onedl")
    )
    assert forks == {FORKS[name] for name in released}
    assert [line for line in extras["trainer-onedl"] if "paploss" in line] == extras["trainer"][:1]


def test_the_charts_readme_is_made_from_its_values() -> None:
    assert make_chart_readme.README.read_text() == make_chart_readme.render(), "run deploy/make_chart_readme.py"


def test_the_charts_readme_has_every_value_that_the_schema_has() -> None:
    schema = json.loads((ROOT / "helm" / "values.schema.json").read_text())

    def paths(node: dict[str, Any], prefix: str) -> Iterator[str]:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]] if "$ref" in node else node
        for name, inner in node.get("properties", {}).items():
            yield f"{prefix}{name}"
            yield from paths(inner, f"{prefix}{name}.")

    rows = [(path, default) for path, default, _ in make_chart_readme.read_values()]
    defaults = yaml.safe_load((ROOT / "helm" / "values.yaml").read_text())
    whole = [path for path, default in rows if default]  # what is within one is in its default
    for path in paths(schema, ""):
        if any(path.startswith(f"{known}.") for known in whole):
            continue
        assert path in [known for known, _ in rows] or isinstance(look_up(defaults, path), dict), path


def look_up(values: Any, path: str) -> Any:
    for name in path.split("."):
        values = values[name]
    return values


def test_the_kustomize_base_is_the_chart() -> None:
    assert make_kustomize.BASE.read_text() == make_kustomize.render(), "run deploy/make_kustomize.py"


@pytest.mark.parametrize(
    ("tool", "files"),
    [
        ("hadolint", [ROOT / "Dockerfile"]),
        (
            "shellcheck",
            [
                *sorted((ROOT / "deploy").glob("*.sh")),
                ROOT / "deploy" / "slurm" / "workers.sbatch",
                ROOT / ".ci" / "run",
            ],
        ),
    ],
)
def test_linters_are_content(tool: str, files: list[Path]) -> None:
    program = Path(sys.executable).with_name(tool)
    found = subprocess.run([program, *files], capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def test_everything_that_the_dockerfile_copies_is_sent_to_the_builder() -> None:
    kept = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    for source in " ".join(copied).split():
        assert (ROOT / source).exists(), source
        assert any(source == name or source.startswith(f"{name}/") for name in kept), source


def test_what_the_build_image_compiles_runs_in_the_image_that_is_shipped() -> None:
    """A program runs on its own C library or a newer one; the copied interpreter needs 2.35."""
    c_libraries = {"ubuntu22.04": 35, "bookworm": 36, "ubuntu24.04": 39}
    texts = [(ROOT / name).read_text() for name in ("Dockerfile", "docker-compose.yml", "docker-compose.gpu.yml")]
    versions = {
        kind: [
            c_libraries[release.rpartition("-")[2]]
            for text in texts
            for release in re.findall(rf"{kind}(?:=|: )([\w./:-]+)", text)
        ]
        for kind in ("PYTHON_IMAGE", "BUILD_IMAGE")
    }
    (shipped,) = versions["PYTHON_IMAGE"]
    assert len(versions["BUILD_IMAGE"]) == 4
    assert all(35 <= version <= shipped for version in versions["BUILD_IMAGE"])


@pytest.mark.slow
def test_the_workers_image_has_loaded_its_operators_before_the_code_is_added() -> None:
    """So that an image whose operators do not load is never built, and a change of code builds one layer anew."""
    worker = (ROOT / "Dockerfile").read_text().split("AS worker\n")[1]
    steps = [line.split()[0] for line in worker.splitlines() if line and not line.startswith(("#", " "))]
    assert steps[:3] == ["COPY", "RUN", "COPY"]
    (script,) = re.findall(r'RUN python -c "(.*)"', worker)
    subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=True)


@pytest.mark.parametrize("files", [[COMPOSE], [COMPOSE, GPU_COMPOSE]], ids=["cpu", "gpu"])
def test_compose_hands_on_every_variable_that_its_comments_name(files: list[Path]) -> None:
    comments = re.findall(r"(?<!\$)#.*", files[-1].read_text())
    named = set(re.findall(r"PAPLOSS_\w+", " ".join(comments)))
    assert named
    for name in named:
        assert any(rf"${{{name}" in file.read_text() or hands_on(file, name) for file in files), name


def hands_on(file: Path, name: str) -> bool:
    """Whether a service gets the variable as it is, where it is set: a key without a value."""
    services = yaml.safe_load(file.read_text())["services"].values()
    return any(name in given and given[name] is None for given in (s.get("environment", {}) for s in services))


def test_compose_stops_on_a_missing_secret() -> None:
    text = COMPOSE.read_text()
    for name in ("ADMIN_KEY", "WORKER_KEY", "DATABASE_PASSWORD", "REDIS_PASSWORD"):
        uses = re.findall(rf"\$\{{PAPLOSS_{name}(.*?)\}}", text)
        assert uses, name
        assert all(use.startswith(":?") for use in uses), name


def test_compose_services_wait_for_what_they_need() -> None:
    services: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]
    assert services.keys() == {"database", "redis", "migrate", "controller", "worker"}
    conditions = {
        (name, needed): how["condition"]
        for name, service in services.items()
        for needed, how in service.get("depends_on", {}).items()
    }
    assert conditions == {
        ("migrate", "database"): "service_healthy",
        ("controller", "migrate"): "service_completed_successfully",
        ("controller", "redis"): "service_healthy",
        ("worker", "controller"): "service_healthy",
    }
    assert yaml.safe_load(GPU_COMPOSE.read_text())["services"].keys() <= services.keys()


def test_redis_of_compose_is_no_root_and_no_list_of_processes_shows_its_password(tmp_path: Path) -> None:
    redis: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())["services"]["redis"]
    assert (redis["user"], redis["read_only"], redis["cap_drop"]) == ("redis", True, ["ALL"])
    command = [part.replace("$$", "$") for part in redis["command"]]  # as compose hands it on
    assert start_redis(command, tmp_path, REDIS_PASSWORD="secret") == REDIS_CONFIGURATION
