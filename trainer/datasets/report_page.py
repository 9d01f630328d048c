"""A data set's report as one HTML file that needs nothing else: findings, classes, sizes, and pictures with boxes."""

import base64
from collections.abc import Iterator, Mapping
from html import escape
from pathlib import Path

import cv2
import numpy as np

from paploss.files import whole_file
from paploss.jobs.dataset_report import DatasetReport
from paploss.jobs.wording import counted
from paploss.trainer.datasets.coco import CocoSplit, Json

PICTURES = 6
"""Of each split."""
PICTURE_PX = 480
COLOURS = ("#e6194b", "#3cb44b", "#4363d8", "#f58231", "#911eb4", "#008080", "#b8860b", "#808000", "#d02090", "#0082c8")
"""Of classes, in turn."""
VERDICTS = {
    "ok": "ready to train on",
    "warnings": "can be trained on; see the warnings",
    "errors": "cannot be trained on",
}
STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8882; --bar: #4363d8; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1080px; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.5rem; overflow-wrap: anywhere; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
.verdict { display: inline-block; padding: .3rem .8rem; border-radius: 1rem; color: #fff; }
.ok { background: #22752f; } .warnings { background: #8a5a00; } .errors { background: #b3152b; }
.scroll { overflow-x: auto; } table { border-collapse: collapse; }
th, td { padding: .25rem .8rem .25rem 0; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; white-space: normal; overflow-wrap: anywhere; }
ul { padding-left: 1.2rem; } li { overflow-wrap: anywhere; margin: .3rem 0; } li ul { opacity: .8; font-size: .9em; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(300px, 1fr)); gap: 1rem; }
figure { margin: 0; }
figure svg { width: 100%; height: auto; display: block; border-radius: 4px; background: var(--soft); }
figcaption { font-size: .8rem; overflow-wrap: anywhere; }
.bar { display: inline-block; height: .8rem; background: var(--bar); border-radius: 2px; vertical-align: middle; }
.swatch { display: inline-block; width: .8rem; height: .8rem; border-radius: 2px; margin-right: .4rem; }
"""


def write_page(report: DatasetReport, splits: Mapping[str, CocoSplit], file: Path) -> None:
    """Writes the page of a report to `file`; whole or not at all. Pictures are of the first images and of others
    evenly spread over each split."""
    text = "\n".join(_page(report, splits))
    with whole_file(file) as output:
        output.write(text.encode("utf-8", "replace"))


def _page(report: DatasetReport, splits: Mapping[str, CocoSplit]) -> Iterator[str]:
    name = escape(report.dataset)
    yield f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{name}</title>"
    yield "<meta name='viewport' content='width=device-width, initial-scale=1'>"
    yield f"<style>{STYLE}</style><h1>{name}</h1>"
    verdict = f"<span class='verdict {report.verdict}'>{VERDICTS[report.verdict]}</span>"
    yield f"<p>{verdict} &nbsp; {escape(report.layout)}</p>"
    for level, title in (("error", "Errors"), ("warning", "Warnings")):
        found = [finding for finding in report.findings if finding.level == level]
        if found:
            yield f"<h2>{title}</h2><ul>"
            for finding in found:
                examples = "".join(f"<li>{escape(example)}</li>" for example in finding.examples)
                yield f"<li>{escape(finding.summary)}{f'<ul>{examples}</ul>' if examples else ''}</li>"
            yield "</ul>"
    if report.splits:
        yield from _splits(report)
        yield from _classes(report)
        yield from _sides(report)
    for split_name, split in splits.items():
        yield f"<h2>Images of {escape(split_name)}</h2><div class='pictures'>"
        yield from _pictures(split)
        yield "</div>"
    yield "</html>"


def _splits(report: DatasetReport) -> Iterator[str]:
    names = [escape(split.name) for split in report.splits]
    yield "<h2>Splits</h2><div class='scroll'><table>" + _row("th", ["", *names])
    rows = {
        "images": [f"{split.images:,}" for split in report.splits],
        "without objects": [f"{split.images_without_objects:,}" for split in report.splits],
        "objects": [f"{split.objects:,}" for split in report.splits],
        "small, below 32² px": [f"{split.box_sizes.small:,}" for split in report.splits],
        "medium": [f"{split.box_sizes.medium:,}" for split in report.splits],
        "large, from 96² px": [f"{split.box_sizes.large:,}" for split in report.splits],
        "tiny, a side below 4 px": [f"{split.tiny:,}" for split in report.splits],
        "crowds": [f"{split.crowds:,}" for split in report.splits],
        "clipped boxes": [f"{split.clipped:,}" for split in report.splits],
        "empty boxes, left out": [f"{split.empty:,}" for split in report.splits],
        "duplicate boxes": [f"{split.duplicates:,}" for split in report.splits],
        "image sizes": [describe_sizes(split.smallest_image, split.largest_image) for split in report.splits],
        "formats": [", ".join(f"{count:,} {kind}" for kind, count in split.formats.items()) for split in report.splits],
    }
    if report.profile:
        rows[f"too small for {report.profile}"] = [f"{split.unseen or 0:,}" for split in report.splits]
    for title, cells in rows.items():
        yield _row("td", [escape(title), *map(escape, cells)])
    yield "</table></div>"


def describe_sizes(smallest: tuple[float, float] | None, largest: tuple[float, float] | None) -> str:
    """Smallest and largest image in words."""
    if smallest is None or largest is None:
        return ""
    texts = [f"{width:g} x {height:g}" for width, height in dict.fromkeys((smallest, largest))]
    return f"{' to '.join(texts)} px"


def _classes(report: DatasetReport) -> Iterator[str]:
    names = [split.name for split in report.splits]
    yield "<h2>Classes</h2><div class='scroll'><table>"
    yield _row("th", ["class", *(escape(f"{title}, {name}") for name in names for title in ("objects", "images"))])
    for label, one in enumerate(report.classes):
        counts = [f"{counted[name]:,}" for name in names for counted in (one.objects, one.images)]
        yield _row(
            "td", [f"<span class='swatch' style='background:{_colour(label)}'></span>{escape(one.key)}", *counts]
        )
    yield "</table></div>"


def _sides(report: DatasetReport) -> Iterator[str]:
    most = max((count for counts in report.side_histogram.values() for count in counts.values()), default=1)
    yield "<h2>Objects by size</h2><p>Side of a square of the box's area.</p><div class='scroll'><table>"
    yield _row("th", ["", *(escape(name) for name in report.side_histogram)])
    for side in sorted({side for counts in report.side_histogram.values() for side in counts}):
        cells = [
            f"<span class='bar' style='width:{160 * counts.get(side, 0) / most:.0f}px'></span> {counts.get(side, 0):,}"
            for counts in report.side_histogram.values()
        ]
        yield _row("td", [f"{side if side > 1 else 0} to {2 * side} px", *cells])
    yield "</table></div>"


def _row(kind: str, cells: list[str]) -> str:
    return "<tr>" + "".join(f"<{kind}>{cell}</{kind}>" for cell in cells) + "</tr>"


def _pictures(split: CocoSplit) -> Iterator[str]:
    objects: dict[int, list[Json]] = {}
    for one in split.annotations:
        objects.setdefault(one["image_id"], []).append(one)
    shown = [image for image in split.images if image["id"] in objects] or list(split.images)
    for place in dict.fromkeys(np.linspace(0, len(shown) - 1, min(PICTURES, len(shown))).astype(int).tolist()):
        image = shown[place]
        yield _picture(split, image, objects.get(image["id"], []))


def _picture(split: CocoSplit, image: Json, objects: list[Json]) -> str:
    """An SVG of the image with its boxes. The image is made smaller; boxes are drawn at the size that the file says."""
    width, height, name = image["width"], image["height"], escape(image["file_name"])
    parts = [f"<figure><svg viewBox='0 0 {width:g} {height:g}' role='img' aria-label='{name}'>"]
    encoded = _encode(split.image_folder / image["file_name"])
    if encoded:
        source = f"data:image/jpeg;base64,{encoded}"
        parts.append(f"<image href='{source}' width='{width:g}' height='{height:g}' preserveAspectRatio='none'/>")
    line, letter, labels, keys = max(width, height) / 250, max(width, height) / 26, split.labels, split.class_keys
    for one in objects:
        x, y, box_width, box_height = one["bbox"]
        label = labels[one["category_id"]]
        colour, dashes = _colour(label), f" stroke-dasharray='{4 * line:.2f}'" if one["iscrowd"] else ""
        parts.append(
            f"<rect x='{x:g}' y='{y:g}' width='{box_width:g}' height='{box_height:g}' fill='none' stroke='{colour}' "
            f"stroke-width='{line:.2f}'{dashes}/><text x='{x + line:g}' y='{max(y, letter) - line:g}' fill='{colour}' "
            f"font-size='{letter:.2f}' font-family='sans-serif' font-weight='600' paint-order='stroke' stroke='#fff' "
            f"stroke-width='{line:.2f}'>{escape(keys[label])}</text>"
        )
    count = counted(len(objects), "object")
    return "".join([*parts, f"</svg><figcaption>{name}, {count}</figcaption></figure>"])


def _encode(file: Path) -> str:
    """The image as a small JPEG in base 64; empty where it cannot be read."""
    try:
        image = cv2.imdecode(np.frombuffer(file.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    except (OSError, cv2.error):
        return ""
    if image is None:
        return ""
    factor = PICTURE_PX / max(image.shape[:2])
    if factor < 1:
        height, width = image.shape[:2]
        size = (max(1, round(width * factor)), max(1, round(height * factor)))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return base64.b64encode(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, 80])[1].tobytes()).decode()


def _colour(label: int) -> str:
    return COLOURS[label % len(COLOURS)]
