"""Commands for data sets: what is wrong with one, from another layout to COCO, and a training set in two parts."""

import json
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from paploss.cli.connection import JsonOption
from paploss.cli.dataset_checks import NoCheckOption, run_check, show_finding
from paploss.cli.failures import BAD_INPUT, FAILED, CommandError
from paploss.cli.local_training import call_trainer
from paploss.cli.output import echo, echo_json
from paploss.cli.specifications import read_dataset
from paploss.cli.terminal import make_console
from paploss.jobs.dataset_report import DatasetReport, SplitReport
from paploss.jobs.metrics import REWARD
from paploss.jobs.profiles import PROFILES

MOST_CLASSES = 40
_VERDICTS = {
    "ok": Text("ok: this data set can be trained on", "bold green"),
    "warnings": Text("this data set can be trained on; see the warnings", "bold yellow"),
    "errors": Text("this data set cannot be trained on", "bold red"),
}
_OutputOption = Annotated[Path | None, typer.Option(help="Folder for the COCO files and images/ (default: FOLDER).")]
_OverwriteOption = Annotated[bool, typer.Option("--overwrite", help="Replace COCO files that exist.")]


class Layout(StrEnum):
    """What a folder may be in."""

    COCO = "coco"
    VOC = "voc"
    YOLO = "yolo"


def doctor(
    dataset: Annotated[
        Path,
        typer.Argument(help="Folder in COCO, Pascal VOC or YOLO layout, a COCO file, or a specification in YAML."),
    ],
    *,
    profile: Annotated[str | None, typer.Option(help="Detector that objects have to be large enough for.")] = None,
    html: Annotated[Path | None, typer.Option(help="File for a page with pictures.")] = None,
    data_root: Annotated[
        Path | None, typer.Option(help="Folder of the data set, in place of the specification's.")
    ] = None,
    no_check: NoCheckOption = False,
    as_json: JsonOption = False,
) -> None:
    """Check a data set: files, sizes, boxes, classes and splits. Exit status 1 if it cannot be trained on."""
    arguments = [str(dataset)]
    if dataset.suffix.lower() in (".yaml", ".yml") and dataset.is_file():
        found = read_dataset(dataset, data_root)
        arguments = ["--dataset", found.dataset.model_dump_json()]
        arguments += ["--reward", REWARD.dump_json(found.reward).decode()]
        profile = profile or found.profile
        if found.overrides.image_size_px:
            arguments += ["--image-size", str(found.overrides.image_size_px)]
    if profile is not None and profile not in PROFILES:
        raise CommandError(f"--profile: expected one of {', '.join(PROFILES)}, got {profile!r}", BAD_INPUT)
    if profile is not None and PROFILES[profile].detector:
        arguments += ["--profile", profile]
    arguments += ["--html", str(html)] if html else []
    report = run_check([*arguments, *(["--no-check"] if no_check else [])])
    if as_json:
        echo_json(report)
    else:
        _show(report, make_console())
        if html:
            echo(f"page: {html}")
    if report.verdict == "errors":
        raise typer.Exit(FAILED)


def convert(
    folder: Annotated[Path, typer.Argument(help="A data set of COCO, Pascal VOC or YOLO, as tools export them.")],
    output: _OutputOption = None,
    layout: Annotated[Layout | None, typer.Option(help="Instead of recognising it.")] = None,
    overwrite: _OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a data set to COCO: train.json, val.json, test.json and images/.

    Images are linked, and copied only to another file system.
    """
    _convert(folder, output, layout, overwrite=overwrite, as_json=as_json)


def convert_voc(
    folder: Annotated[Path, typer.Argument(help="Holds Annotations, ImageSets and JPEGImages.")],
    output: _OutputOption = None,
    overwrite: _OverwriteOption = False,
    as_json: JsonOption = False,
) -> None:
    """Convert a Pascal VOC data set to COCO, as `paploss convert --layout voc`.

    Images are linked, and copied only to another file system. Objects marked as difficult become crowds.
    """
    _convert(folder, output, Layout.VOC, overwrite=overwrite, as_json=as_json)


def split(
    annotations: Annotated[Path, typer.Argument(help="COCO file, e.g. annotations/instances_train2017.json.")],
    val: Annotated[str, typer.Option(help="Images for validation: a number, or a fraction below 1.")],
    seed: Annotated[int, typer.Option(min=0, help="Seed that selects the images.")] = 0,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Split a training set into a part to train on in a search and a part to measure rewards on.

    Every class that two images show is in both, as far as a split of this size can do that; others are named.
    """
    forced = ["--overwrite"] if overwrite else []
    output = call_trainer(["split", str(annotations), "--val", val, "--seed", str(seed), *forced]).strip()
    if as_json:
        echo_json(json.loads(output))
        return
    for name, value in json.loads(output).items():
        for line in value if name == "warnings" else (value,):
            echo(f"{name.removesuffix('s') if name == 'warnings' else name}: {line}")


def _convert(folder: Path, output: Path | None, layout: Layout | None, *, overwrite: bool, as_json: bool) -> None:
    options = (["--output", str(output)] if output else []) + (["--overwrite"] if overwrite else [])
    options += ["--layout", layout.value] if layout else []
    written = call_trainer(["convert", str(folder), *options]).strip()
    if as_json:
        echo_json(json.loads(written))
        return
    content: dict[str, Any] = json.loads(written)
    for part in content["parts"].values():
        echo(f"{part['file']}: images {part['images']}, objects {part['objects']}")
    echo(f"classes: {', '.join(content['classes'])}")
    if content["empty_boxes"]:
        echo(f"boxes without an area, left out: {content['empty_boxes']}")
    for note in content["notes"]:
        echo(f"warning: {note}")


def _show(report: DatasetReport, console: Console) -> None:
    console.print(Text.assemble((report.dataset, "bold"), f"  {report.layout}"), soft_wrap=True)
    if report.splits:
        console.print()
        console.print(_splits_table(report))
        console.print()
        console.print(_classes_table(report))
        if len(report.classes) > MOST_CLASSES:
            console.print(f"... and {len(report.classes) - MOST_CLASSES} more classes: --json, --html", style="dim")
    console.print()
    for finding in report.findings:
        show_finding(finding, console)
    console.print(_VERDICTS[report.verdict])


def _splits_table(report: DatasetReport) -> Table:
    table = Table(Column("", style="dim"), box=None, padding=(0, 2, 0, 0), header_style="bold")
    for split in report.splits:
        table.add_column(Text(split.name), justify="right")
    rows: dict[str, Callable[[SplitReport], str]] = {
        "images": lambda split: f"{split.images:,}",
        "  without objects": lambda split: f"{split.images_without_objects:,}",
        "  sizes, px": _sizes,
        "  formats": lambda split: "\n".join(f"{count:,} {kind}" for kind, count in split.formats.items()),
        "objects": lambda split: f"{split.objects:,}",
        "  small / medium / large": lambda split: (
            f"{split.box_sizes.small:,} / {split.box_sizes.medium:,} / {split.box_sizes.large:,}"
        ),
        "  tiny, a side below 4 px": lambda split: f"{split.tiny:,}",
        "crowds": lambda split: f"{split.crowds:,}",
        "boxes clipped": lambda split: f"{split.clipped:,}",
        "  empty, left out": lambda split: f"{split.empty:,}",
        "  twice": lambda split: f"{split.duplicates:,}",
    }
    if report.profile:
        rows[f"too small for {report.profile}"] = lambda split: f"{split.unseen or 0:,}"
    for title, cell in rows.items():
        table.add_row(Text(title), *(Text(cell(split)) for split in report.splits))
    return table


def _sizes(split: SplitReport) -> str:
    if split.smallest_image is None or split.largest_image is None:
        return ""
    sizes = dict.fromkeys((split.smallest_image, split.largest_image))
    return "\nto ".join(f"{width:g} x {height:g}" for width, height in sizes)


def _classes_table(report: DatasetReport) -> Table:
    names = [split.name for split in report.splits]
    table = Table("class: objects (images)", box=None, padding=(0, 2, 0, 0), header_style="bold")
    for name in names:
        table.add_column(Text(name), justify="right", no_wrap=True)
    for one in report.classes[:MOST_CLASSES]:
        counts = (f"{one.objects[name]:,} ({one.images[name]:,})" for name in names)
        table.add_row(Text(one.key), *(Text(count) for count in counts))
    return table
