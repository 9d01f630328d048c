"""Build both images and try them: as images, after a change of code, and as a compose platform that runs a search.

    python deploy/smoke.py                       builds, starts docker-compose.yml under another name, removes it again
    python deploy/smoke.py --gpu                 the CUDA variant, with docker-compose.gpu.yml
    python deploy/smoke.py --build-option ...    options of `docker build`, e.g. --build-option=--network=host
    python deploy/smoke.py --file F [--file G]   other compose files, e.g. for an engine without networks of its own

Needs a Docker engine with BuildKit, and compose (`docker compose`, or docker-compose 1.29). Each check prints a line;
the first that fails ends it with status 1. Standard library alone, so that any Python 3.11 runs it.
"""

import argparse
import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PROJECT = "paploss-smoke"
CONTROLLER = "paploss-controller"
SECRETS = ("PAPLOSS_ADMIN_KEY", "PAPLOSS_WORKER_KEY", "PAPLOSS_DATABASE_PASSWORD", "PAPLOSS_REDIS_PASSWORD")
USER = "10001:10001"
PATIENCE_SECONDS = 900.0
CPU_BUILD = ("BUILD_IMAGE=python:3.11-bookworm", "TORCH_INDEX_URL=https://download.pytorch.org/whl/cpu")
SEARCH = {
    "name": "smoke test",
    "profile": "synthetic",
    "rounds": 2,
    "trials_per_round": 4,
    "confirm": {"candidates": 1, "seeds": 1},
}


class CheckFailedError(Exception):
    """What was expected, and what was found."""


def main() -> int:
    """Runs every check; the exit status."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition("\n")[0])
    parser.add_argument("--gpu", action="store_true", help="the CUDA variant of the worker, on this machine's GPUs")
    parser.add_argument("--build-option", action="append", default=[], help="an option of docker build; repeatable")
    parser.add_argument("--file", action="append", type=Path, help="compose file in place of ours; repeatable")
    parser.add_argument("--port", type=int, default=18080, help="of the page on this machine")
    options = parser.parse_args()
    worker = f"paploss-worker:{'cuda' if options.gpu else 'cpu'}"
    files = options.file or [ROOT / "docker-compose.yml", *([ROOT / "docker-compose.gpu.yml"] if options.gpu else [])]
    variant = [] if options.gpu else [f"--build-arg={argument}" for argument in CPU_BUILD]
    try:
        build(ROOT, "controller", CONTROLLER, options.build_option)
        build(ROOT, "worker", worker, [*variant, *options.build_option])
        check_image(CONTROLLER)
        check_image(worker)
        check_controller_is_small()
        check_operators_work(worker)
        check_a_change_of_code_rebuilds_one_layer(CONTROLLER, "controller", options.build_option)
        check_a_change_of_code_rebuilds_one_layer(worker, "worker", [*variant, *options.build_option])
        Compose(files, options.port).check()
    except CheckFailedError as error:
        print(f"FAILED  {error}", file=sys.stderr)
        return 1
    print("everything works")
    return 0


def build(context: Path, target: str, tag: str, build_options: Sequence[str]) -> None:
    """One image; what the engine says is shown as it comes."""
    command = ["docker", "build", "--target", target, "--tag", tag, *build_options, str(context)]
    if subprocess.run(command, env=os.environ | {"DOCKER_BUILDKIT": "1"}, check=False).returncode:
        raise CheckFailedError(f"the image {tag} could not be built")
    passed(f"{tag} is built ({inspect(tag)['Size'] / 1e6:.0f} MB)")


def check_image(tag: str) -> None:
    """Who it runs as, and whether it tells its health."""
    config = inspect(tag)["Config"]
    expect(f"user of {tag}", USER, config["User"])
    expect(f"{tag} has a health check", True, bool(config.get("Healthcheck")))


def check_controller_is_small() -> None:
    """No torch: nothing of a trainer is in the controller's image."""
    found = output(
        *("docker", "run", "--rm", "--network=none", "--read-only", "--entrypoint=python", CONTROLLER, "-c"),
        "import importlib.util as u; print([name for name in ('torch', 'mmcv', 'mmdet') if u.find_spec(name)])",
    )
    expect("packages of a trainer in the controller's image", "[]", found.strip())


def check_operators_work(tag: str) -> None:
    """mmcv's compiled operators and our heads load on a read-only root, and one operator computes."""
    script = (
        "import torch, paploss.trainer.heads; from mmcv.ops import nms; "
        "boxes = torch.tensor([[0., 0, 9, 9], [0, 0, 9, 8]]); "
        "print(len(nms(boxes, torch.tensor([.9, .8]), .5)[0]))"
    )
    limits = ("--network=none", "--read-only", "--tmpfs=/tmp", "--entrypoint=python")
    found = output("docker", "run", "--rm", *limits, tag, "-c", script)
    expect(f"boxes that mmcv's operator keeps in {tag}", "1", found.split()[-1])


def check_a_change_of_code_rebuilds_one_layer(tag: str, target: str, build_options: Sequence[str]) -> None:
    """Builds again with one more line in one file: all layers but the last have to come from before."""
    with tempfile.TemporaryDirectory() as folder:
        context = Path(folder) / "context"
        shutil.copytree(
            ROOT, context, symlinks=True, ignore=shutil.ignore_patterns(".*", "tests", "benchmarks", "state", "docs")
        )
        shutil.copy(ROOT / ".dockerignore", context)
        with (context / "paploss" / "__init__.py").open("a") as file:
            file.write("\n# changed\n")
        changed = f"{tag.partition(':')[0]}:changed"
        build(context, target, changed, build_options)
        before, after = (inspect(image)["RootFS"]["Layers"] for image in (tag, changed))
        output("docker", "rmi", changed)
    expect(f"layers of {tag} that a change of code keeps", before[:-1], after[:-1])
    expect(f"last layer of {tag} is the code's", True, before[-1] != after[-1])


class Compose:
    """The platform of the compose files under a name of its own."""

    def __init__(self, files: Sequence[Path], port: int) -> None:
        plugin = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode == 0
        program = ["docker", "compose"] if plugin else ["docker-compose"]
        names = [part for file in files for part in ("--file", str(file))]
        self._command = [*program, "--project-name", PROJECT, "--project-directory", str(ROOT), *names]
        self._environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("PAPLOSS_", "COMPOSE_"))
        }
        self._secrets = {name: secrets.token_hex(20) for name in SECRETS} | {"PAPLOSS_PORT": str(port)}
        self._port = port

    def check(self) -> None:
        """Everything from a missing secret to the last stop; nothing of it stays."""
        for name in SECRETS:
            self._check_refusal(name)
        try:
            self._run("up", "--detach", "--no-build")
            self._wait_until_healthy()
            for service in ("controller", "worker"):
                for container in self._containers(service):
                    check_container(service, container)
            self._check_search()
            self._check_stop()
        except CheckFailedError:
            self._run("logs", "--no-color", "--tail=30", quiet=False)
            raise
        finally:
            self._run("down", "--volumes", "--remove-orphans", "--timeout=20")

    def _check_refusal(self, name: str) -> None:
        without = {other: value for other, value in self._secrets.items() if other != name}
        ended = self._start(["config"], without)
        expect(f"without {name} compose stops and names it", True, ended.returncode != 0 and name in ended.stderr)

    def _wait_until_healthy(self) -> None:
        def unhealthy() -> list[str]:
            found = {service: self._containers(service) for service in ("database", "redis", "controller", "worker")}
            missing = [service for service, containers in found.items() if not containers]
            return missing + [
                f"{service} {container[:12]}"
                for service, containers in found.items()
                for container in containers
                if inspect(container)["State"].get("Health", {}).get("Status") != "healthy"
            ]

        waited = wait(lambda: not unhealthy(), lambda: f"all containers to be healthy; still not: {unhealthy()}")
        passed(f"all containers are healthy ({waited:.0f} s)")
        expect("readiness", True, self._ask("GET", "/readyz")["ready"])

    def _check_search(self) -> None:
        search = self._ask("POST", "/api/v1/experiments", SEARCH)["id"]
        states = {"succeeded", "failed", "cancelled"}
        waited = wait(
            lambda: self._ask("GET", f"/api/v1/experiments/{search}")["state"] in states,
            lambda: "the search to end",
        )
        expect("state of the search", "succeeded", self._ask("GET", f"/api/v1/experiments/{search}")["state"])
        trials = self._ask("GET", f"/api/v1/experiments/{search}/trials")["items"]
        expect("states of its trials", {"succeeded"}, {trial["state"] for trial in trials})
        passed(f"a search of {len(trials)} trainings has ended ({waited:.0f} s)")

    def _check_stop(self) -> None:
        containers = self._containers("worker")
        self._run("stop", "worker", "controller")
        for container in containers:
            expect(f"exit status of worker {container[:12]}", 0, inspect(container)["State"]["ExitCode"])

    def _containers(self, service: str) -> list[str]:
        return self._run("ps", "--quiet", service).split()

    def _run(self, *arguments: str, quiet: bool = True) -> str:
        ended = self._start(arguments, self._secrets)
        if not quiet:
            print(ended.stdout, ended.stderr, file=sys.stderr)
        elif ended.returncode:
            raise CheckFailedError(f"compose {' '.join(arguments)}: {ended.stderr.strip()}")
        return ended.stdout

    def _start(self, arguments: Sequence[str], settings: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        environment = {**self._environment, **settings}
        return subprocess.run(
            [*self._command, *arguments], env=environment, cwd=ROOT, capture_output=True, text=True, check=False
        )

    def _ask(self, method: str, path: str, content: object = None) -> Any:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=30)
        headers = {"Authorization": f"Bearer {self._secrets['PAPLOSS_ADMIN_KEY']}", "Content-Type": "application/json"}
        try:
            connection.request(method, path, None if content is None else json.dumps(content), headers)
            reply = connection.getresponse()
            text = reply.read()
        except OSError as error:
            raise CheckFailedError(f"{method} {path}: {error}") from error
        finally:
            connection.close()
        if reply.status >= 300:
            raise CheckFailedError(f"{method} {path}: {reply.status} {text.decode(errors='replace')}")
        return json.loads(text)


def check_container(service: str, container: str) -> None:
    """What a running container may not do."""
    host = inspect(container)["HostConfig"]
    expect(f"{service}: read-only root file system", True, host["ReadonlyRootfs"])
    expect(f"{service}: capabilities dropped", ["ALL"], host["CapDrop"])
    script = "id -u; touch /here 2> /dev/null && echo writable || echo read-only; touch /tmp/here && echo writable"
    found = output("docker", "exec", container, "sh", "-c", script).split()
    expect(f"{service}: its user, its root, its /tmp", [USER.partition(":")[0], "read-only", "writable"], found)


def inspect(name: str) -> Any:
    """What the engine knows of an image or a container."""
    return json.loads(output("docker", "inspect", name))[0]


def output(*command: str) -> str:
    """A command's standard output."""
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise CheckFailedError(f"{' '.join(command[:3])}: {ended.stderr.strip()}")
    return ended.stdout


def wait(holds: Callable[[], bool], describe: Callable[[], str]) -> float:
    """Seconds until `holds()` is true."""
    start = time.monotonic()
    while not holds():
        if time.monotonic() - start > PATIENCE_SECONDS:
            raise CheckFailedError(f"waited {PATIENCE_SECONDS:.0f} s for {describe()}")
        time.sleep(1)
    return time.monotonic() - start


def expect(what: str, expected: object, found: object) -> None:
    """Compare, and say that it was as expected."""
    if expected != found:
        raise CheckFailedError(f"{what}: expected {expected}, found {found}")
    passed(what)


def passed(what: str) -> None:
    """A line for a check that went well."""
    print(f"ok      {what}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
