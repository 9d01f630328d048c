"""`paploss mirror`: experiments as runs of MLflow and TensorBoard."""

import time
from pathlib import Path
from typing import Annotated

import typer

from paploss.cli.connection import (
    DEFAULT_STATE,
    JsonOption,
    KeyFileOption,
    StateOption,
    UrlOption,
    complete_ids,
    connect,
    watch_over,
)
from paploss.cli.extras import require
from paploss.cli.failures import BAD_INPUT, CommandError
from paploss.cli.output import tell
from paploss.cli.terminal import make_console, say
from paploss.client.errors import ClientError, is_passing
from paploss.mirror.mirror import Mirror, News, Target, TargetError

LOOK_SECONDS = 5.0
LONGEST_PAUSE_SECONDS = 60.0


def mirror(
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID]...", help="Experiments (default: all).", autocompletion=complete_ids),
    ] = None,
    *,
    mlflow: Annotated[str | None, typer.Option(metavar="URI", help="A tracking server of MLflow.")] = None,
    tensorboard: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A folder for event files, as `tensorboard --logdir` reads.")
    ] = None,
    follow: Annotated[
        bool, typer.Option("--follow", help="Keep running and write what ends later, until Ctrl-C.")
    ] = False,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Write experiments to MLflow or TensorBoard: each trial that has ended as a run, and the verdict.

    What is there already is not written again, so the command can be repeated. A viewer's key is enough.
    """
    targets = _open_targets(mlflow, tensorboard)
    look_after_platform = watch_over(state, url)
    with connect(state, url, key_file) as client:
        mirrored = Mirror(client, targets)
        pause_seconds = LOOK_SECONDS
        while True:
            trouble = ""
            try:
                for news in mirrored.look(ids or ()):
                    tell(as_json, vars(news), _describe(news))
            except TargetError as error:
                if not follow:
                    raise CommandError(str(error)) from None
                trouble = str(error)
            except ClientError as error:
                if not (follow and is_passing(error)):
                    raise
                look_after_platform()
                trouble = str(error)
            if trouble:
                say(make_console(stderr=True), f"trying again: {trouble}")
            pause_seconds = min(2 * pause_seconds, LONGEST_PAUSE_SECONDS) if trouble else LOOK_SECONDS
            if not follow:
                return
            time.sleep(pause_seconds)


def _open_targets(mlflow: str | None, tensorboard: Path | None) -> list[Target]:
    """The targets that are asked for; each loads its library."""
    targets: list[Target] = []
    if mlflow is not None:
        require("--mlflow", "mlflow")
        from paploss.mirror.mlflow_target import MlflowTarget  # noqa: PLC0415 (an extra)

        try:
            targets.append(MlflowTarget(mlflow))
        except TargetError as error:
            raise CommandError(str(error), BAD_INPUT) from None
    if tensorboard is not None:
        require("--tensorboard", "tensorboard")
        from paploss.mirror.tensorboard_target import TensorBoardTarget  # noqa: PLC0415 (an extra)

        targets.append(TensorBoardTarget(tensorboard))
    if not targets:
        raise CommandError("expected --mlflow URI, --tensorboard FOLDER, or both", BAD_INPUT)
    return targets


def _describe(news: News) -> str:
    what = [f"{news.trials} trials"] if news.trials else []
    what += ["its end"] if news.is_ended else []
    return f"{news.experiment_id}: {' and '.join(what)} to {news.target}"
