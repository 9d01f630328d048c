"""Removes from a virtual environment what a controller never reads; run as its image is built, by its interpreter:

    python deploy/strip_packages.py        /opt/venv/bin/python in the image; prints what is left

Whole parts only, none of which the program imports: tests/deploy/test_strip_packages.py runs it without them. Standard
library alone.
"""

import shutil
import site
import sys
from pathlib import Path

UNUSED = (
    "_distutils_hack",  # with pip and setuptools: nothing is installed into an image
    "distutils-precedence.pth",
    "pip",
    "pkg_resources",
    "setuptools",
    "kubernetes/aio",  # a second client, for asyncio
    "plotly/graph_objs",  # plotly.js alone is served, from plotly/package_data
    "plotly/labextension",
    "plotly/validators",
    "numpy/f2py",
    "**/tests",
    "**/*.pyi",
    "**/*.js.map",
    "swagger_ui/static/swagger-editor*",
    "swagger_ui/static/swagger-ui-es-bundle*",
    "numpy/_core/lib",  # for who compiles against numpy
    "numpy/_core/include",
)
"""Patterns below site-packages."""


def strip(packages: Path) -> None:
    """Remove everything that is unused from a folder of packages."""
    for pattern in UNUSED:
        for path in sorted(packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()


def measure(folder: Path) -> float:
    """Megabytes of the files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


if __name__ == "__main__":
    (found,) = site.getsitepackages()
    strip(Path(found))
    print(f"{measure(Path(sys.prefix)):.0f} MB of packages")
