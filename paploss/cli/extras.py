"""What of the package is installed here. A command that needs more says which extra to install."""

from importlib.util import find_spec
from typing import Literal

from paploss.cli.failures import FAILED, CommandError

Extra = Literal["client", "controller", "worker", "trainer", "mlflow", "tensorboard"]

NEEDED: dict[Extra, tuple[str, ...]] = {
    "client": ("httpx", "pydantic", "rich", "typer", "yaml"),
    "controller": ("alembic", "fastapi", "jinja2", "plotly", "pydantic_settings", "redis", "scipy", "sqlalchemy"),
    "worker": ("httpx", "pydantic_settings", "redis"),
    "trainer": ("mmcv", "mmdet", "mmengine", "pycocotools", "pydantic", "sklearn", "torch"),
    "mlflow": ("mlflow",),
    "tensorboard": ("tensorboardX",),
}
"""Modules by which an extra is known to be there."""


def require(what: str, *extras: Extra) -> None:
    """Return if the extras are installed.

    Args:
        what: for the message: the command, or the part of it, that needs them.
        extras: of the package.

    Raises:
        CommandError: says which to install.
    """
    absent = {extra: missing for extra in extras if (missing := _find_missing(extra))}
    if absent:
        names = ", ".join(dict.fromkeys(name for missing in absent.values() for name in missing))
        raise CommandError(
            f"{what} needs packages that are not installed here ({names}): pip install 'paploss[{','.join(absent)}]'",
            FAILED,
        )


def _find_missing(extra: Extra) -> list[str]:
    return [name for name in NEEDED[extra] if find_spec(name) is None]
