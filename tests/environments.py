"""Fresh environments that hold a wheel, its chosen extras and nothing else, made of what is installed here.

Each file of each package that the extras require, directly or not, is linked into the new environment: what it can
import is what `pip install 'paploss[...]'` would bring, and no index is asked.
"""

import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import PathDistribution, distribution
from pathlib import Path

from make_requirements import REPLACED
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name


class Environment:
    """A virtual environment without pip."""

    def __init__(self, folder: Path, wheel: Path, extras: Iterable[str]) -> None:
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.bin = folder / "bin"
        self._packages = next((folder / "lib").glob("python3*/site-packages"))
        options = ("--quiet", "--disable-pip-version-check", "--no-deps", "--no-index", "--no-compile")
        pip = [sys.executable, "-m", "pip", "--python", self.bin / "python", "install", *options]
        subprocess.run([*pip, wheel], check=True)
        (metadata,) = self._packages.glob("paploss-*.dist-info")
        for name in sorted(find_packages(PathDistribution(metadata).requires or (), extras)):
            self._link(name)

    def run(self, *command: str | Path, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program of the environment, in its own folder, with none of this process's settings."""
        kept = {"PATH": "/usr/bin:/bin", "HOME": str(self.bin.parent), "LANG": "C.UTF-8"}
        program, *arguments = command
        return subprocess.run(
            [self.bin / program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=self.bin.parent,
            env=kept | environment,
        )

    def import_all(self, package: str, *, without: Sequence[str] = ()) -> None:
        """Import every module of a package whose name does not begin with one of `without`."""
        script = (
            "import importlib, pkgutil, sys\n"
            "package = importlib.import_module(sys.argv[1])\n"
            "for module in pkgutil.walk_packages(package.__path__, package.__name__ + '.'):\n"
            "    if not module.name.startswith(tuple(sys.argv[2:])) and not module.name.endswith('__main__'):\n"
            "        importlib.import_module(module.name)\n"
        )
        done = self.run("python", "-W", "ignore", "-c", script, package, *without)
        assert done.returncode == 0, done.stderr

    def _link(self, name: str) -> None:
        for file in distribution(name).files or ():
            if ".." in file.parts:
                continue  # programs, which no test needs
            target = self._packages / file
            target.parent.mkdir(parents=True, exist_ok=True)
            if not target.exists():  # packages of one namespace may share a file
                target.symlink_to(Path(str(file.locate())))


def find_packages(requires: Iterable[str], extras: Iterable[str]) -> set[str]:
    """Names of all packages that the `requires` of a wheel lead to, under its extras."""
    found: set[tuple[str, str]] = set()
    own = list(requires)
    open_ones = list(_choose(own, ("", *extras)))
    while open_ones:
        requirement = open_ones.pop()
        name = canonicalize_name(REPLACED.get(requirement.name, requirement.name))
        for extra in ("", *requirement.extras):
            if (name, extra) not in found:
                found.add((name, extra))
                lines = own if name == "paploss" else distribution(name).requires or ()
                open_ones += _choose(lines, (extra,))
    return {name for name, _ in found} - {"paploss"}


def _choose(lines: Iterable[str], extras: Iterable[str]) -> Iterator[Requirement]:
    for line in lines:
        requirement = Requirement(line)
        if requirement.marker is None or any(requirement.marker.evaluate({"extra": extra}) for extra in extras):
            yield requirement
