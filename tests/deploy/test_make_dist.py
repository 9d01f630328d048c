"""A release is what git knows, under one version; its workflow names targets and arguments that the Dockerfile has."""

import os
import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from pathlib import Path

import make_dist
import pytest
import yaml
from charts import ROOT
from helm_python import Chart

WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "release.yml").read_text())


def test_package_and_chart_have_one_version() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    with Chart.load(ROOT / "helm") as chart:
        assert {declared, version("paploss")} == {chart.version}


def test_a_release_is_made_of_what_git_knows(tmp_path: Path) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no clone")
    make_dist.copy_tracked(tmp_path)
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True).stdout.split()
    copied = [file for file in tmp_path.rglob("*") if file.is_symlink() or not file.is_dir()]
    assert sorted(str(file.relative_to(tmp_path)) for file in copied) == sorted(tracked)
    assert (tmp_path / "paploss" / "controller").is_symlink()


@pytest.mark.slow
def test_every_file_of_a_release_is_built_and_summed(tmp_path: Path) -> None:
    built = make_dist.build(tmp_path)
    names = [file.name for file in built]
    number = version("paploss")
    packages = [f"paploss-{number}-py3-none-any.whl", f"paploss-{number}.tar.gz"]
    archives = [f"paploss-{number}.tgz", f"paploss-docs-{number}.tar.gz"]
    assert names == [*sorted([*packages, *archives]), "SHA256SUMS"]
    subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=tmp_path, check=True)
    with Chart.load_archive((tmp_path / f"paploss-{number}.tgz").read_bytes()) as chart:
        assert chart.render({}, name="demo", namespace="ml")


def test_the_workflow_builds_what_the_dockerfile_has() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    for row in WORKFLOW["jobs"]["images"]["strategy"]["matrix"]["include"]:
        assert re.search(rf"^FROM \S+ AS {row['target']}$", dockerfile, re.MULTILINE)
        for line in row["arguments"].split():
            assert re.search(rf"^ARG {line.partition('=')[0]}=", dockerfile, re.MULTILINE)


def test_the_released_chart_names_the_images_that_are_pushed(tmp_path: Path) -> None:
    jobs = {name: job["steps"] for name, job in WORKFLOW["jobs"].items()}
    (write,) = [step["run"] for step in jobs["dist"] if "helm/values.yaml" in step.get("run", "")]
    (name,) = [step["run"] for step in jobs["images"] if step.get("id") == "name"]
    (tmp_path / "helm").mkdir()
    shutil.copy(ROOT / "helm" / "values.yaml", tmp_path / "helm")
    given = {"REPOSITORY": "Owner/Name", "GITHUB_REF_NAME": "v0.2.0", "SUFFIX": "", "GITHUB_OUTPUT": "names"}
    pushed = {}
    for image in ("controller", "worker"):
        environment = {**os.environ, **given, "IMAGE": image}
        subprocess.run(["bash", "-ec", name], cwd=tmp_path, env=environment, check=True)
        pushed[image] = (tmp_path / "names").read_text().split()[-2].removeprefix("name=")
    subprocess.run(["bash", "-ec", write], cwd=tmp_path, env={**os.environ, **given}, check=True)
    images = yaml.safe_load((tmp_path / "helm" / "values.yaml").read_text())["images"]
    assert {image: images[image]["repository"] for image in pushed} == pushed
    assert images["redis"]["repository"] == "redis"


def test_no_job_of_the_workflow_may_do_more_than_it_says() -> None:
    assert WORKFLOW["permissions"] == {}
    assert all("permissions" in job for job in WORKFLOW["jobs"].values())
    steps = [step for job in WORKFLOW["jobs"].values() for step in job["steps"]]
    # What an expression yields is no part of a script: a tag's name could be a command.
    assert not [step["run"] for step in steps if "${{" in step.get("run", "")]
