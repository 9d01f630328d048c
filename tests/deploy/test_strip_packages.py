"""What is removed from the packages of the controller's image is not needed by a controller: one runs without it."""

import os
import re
import subprocess
import sys
from importlib.metadata import distribution
from pathlib import Path

import httpx
import pytest
import strip_packages
from charts import ROOT
from make_requirements import list_requirements
from servers import free_port
from stack import wait_until

pytestmark = pytest.mark.slow

WALK = """
import importlib, pkgutil, paploss.cli.main, paploss.controller
for module in pkgutil.walk_packages(paploss.controller.__path__, "paploss.controller."):
    if ".migrations." not in module.name:
        importlib.import_module(module.name)
"""


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the controller's image installs, stripped."""
    folder = tmp_path_factory.mktemp("packages")
    for line in list_requirements("controller"):
        for file in distribution(line.partition("==")[0]).files or ():
            source = Path(str(file.locate()))
            if ".." in file.parts or "__pycache__" in file.parts or not source.exists():
                continue
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            os.link(source, folder / file)
    strip_packages.strip(folder)
    return folder


def environment(packages: Path, **settings: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PAPLOSS_", "PYTHON"))}
    return kept | {"PYTHONPATH": f"{packages}:{ROOT}"} | settings


def run_alone(script: str, packages: Path) -> None:
    # -S: without the packages of this environment.
    done = subprocess.run(
        [sys.executable, "-S", "-c", script], env=environment(packages), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_every_pattern_removes_something(packages: Path) -> None:
    for pattern in strip_packages.UNUSED:
        assert not list(packages.glob(pattern)), pattern
    assert not (packages / "kubernetes" / "aio").exists()
    assert (packages / "plotly" / "package_data" / "plotly.min.js").exists()


def test_every_module_of_the_controller_loads_and_what_is_compiled_is_there(packages: Path) -> None:
    run_alone(WALK + "".join(f"importlib.import_module({name!r})\n" for name in strip_packages.LOADED), packages)


def test_every_group_of_the_kubernetes_api_that_the_controller_asks_for_is_kept(packages: Path) -> None:
    """The client loads each group when its name is first asked for."""
    code = "".join(file.read_text() for file in (ROOT / "controller").rglob("*.py"))
    asked = sorted(set(re.findall(r"client\.(\w+Api)\(", code)))
    assert "CustomObjectsApi" in asked
    script = "from kubernetes import client\n" + "".join(f"client.{name}()\n" for name in asked)
    run_alone(script, packages)


def test_a_controller_serves_its_pages_and_figures(packages: Path, redis_url: str, tmp_path: Path) -> None:
    port = free_port()
    settings = {"PAPLOSS_STATE_DIR": str(tmp_path), "PAPLOSS_REDIS_URL": redis_url, "PAPLOSS_PORT": str(port)}
    log = (tmp_path / "log").open("wb")
    serving = subprocess.Popen(
        [sys.executable, "-S", "-m", "paploss.cli", "serve"],
        env=environment(packages, **settings),
        stdout=log,
        stderr=log,
    )

    def ready() -> bool:
        assert serving.poll() is None, (tmp_path / "log").read_text()
        try:
            return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).is_success
        except httpx.TransportError:
            return False

    try:
        wait_until(ready, "the controller to be ready")
        for path in ("static/plotly.min.js", "static/swagger-ui-bundle.js", "static/swagger-ui.css", "sign-in"):
            assert httpx.get(f"http://127.0.0.1:{port}/{path}", timeout=30).is_success, path
    finally:
        serving.terminate()
        serving.wait()
        log.close()
