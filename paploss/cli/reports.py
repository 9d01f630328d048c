"""`paploss report`: the story of a search as one HTML file."""

from pathlib import Path
from typing import Annotated

import typer

from paploss.cli.connection import (
    DEFAULT_STATE,
    IdArgument,
    JsonOption,
    KeyFileOption,
    StateOption,
    UrlOption,
    connect,
)
from paploss.cli.failures import CommandError
from paploss.cli.output import echo, echo_json
from paploss.controller.report import ImagesError, gather, render, write_images
from paploss.files import write_whole


def report(
    experiment_id: IdArgument,
    *,
    out: Annotated[
        Path | None, typer.Option("--output", "--out", help="HTML file to write (default: STATE/reports/ID.html).")
    ] = None,
    png: Annotated[
        bool, typer.Option("--png", help="The figures as PNGs too, in a folder beside it; needs a Chromium.")
    ] = False,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Write the whole history of a search to one self-contained HTML file."""
    with connect(state, url, key_file) as client:
        story = gather(client, experiment_id)
    file = out or state / "reports" / f"{experiment_id}.html"
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_whole(file, render(story))
        images = write_images(story.figures, file.with_suffix("")) if png else []
    except OSError as error:
        raise CommandError(f"{file}: cannot write: {error.strerror}") from None
    except ImagesError as error:
        raise CommandError(f"{file} is written; --png: {error}") from None
    if as_json:
        echo_json({"file": str(file), "images": [str(image) for image in images]})
        return
    for written in (file, *images):
        echo(written)
