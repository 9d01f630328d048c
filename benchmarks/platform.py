"""The platform that a benchmark's trainings run through, and experiments that are found again by their names."""

import argparse
import gzip
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from benchmarks.record import RESULTS
from paploss.cli.address import find_running
from paploss.cli.platform import run_platform
from paploss.client.models import ExperimentSummary
from paploss.client.specs import ExperimentSpec
from paploss.client.sync_client import Client
from paploss.jobs.spec import DatasetSpec, Split

POLL_SECONDS = 15.0
EPOCHS: Mapping[str, int] = {"bccd": 4, "raccoon": 8}
"""Of a proxy, by data set: about as many steps on both, for blood cells have 205 images to train with, raccoons 120."""


@contextmanager
def connect(state: Path, workers: int, data: Sequence[Path]) -> Iterator[Client]:
    """A client of the platform that runs over `state`, started if there is none.

    `data`: folders that its trainings may read.
    """
    with ExitStack() as opened:
        address = find_running(state.absolute())
        if address is None:
            address = opened.enter_context(run_platform(state.absolute(), None, workers, data)).address
        yield opened.enter_context(Client(address.url, address.key))


def find_or_create(client: Client, spec: ExperimentSpec) -> str:
    """The id of the experiment of that name: the one that a stopped benchmark left, or a new one."""
    found = (run.id for run in client.list_experiments(spec.kind) if run.name == spec.name)
    return next(found, None) or client.create(spec).id


def find_search(client: Client, name: str) -> str:
    """The id of the search of that name, which there is."""
    return next(run.id for run in client.list_experiments("search") if run.name == name)


def keep_dumps(client: Client, runs: Iterable[ExperimentSummary], folder: Path, data: Iterable[Path]) -> None:
    """Write those that have succeeded and do not lie in the folder yet, whole, as `paploss dump` does.

    `data`: their data sets, which are in /data there, wherever they are on this machine. Checkpoints are not kept, so
    no trial names one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for run in runs:
        path = folder / f"{re.sub('[^a-z0-9]+', '-', run.name.lower())}.jsonl.gz"
        if run.state == "succeeded" and not path.exists():
            content = re.sub('"checkpoint":"[^"]*"', '"checkpoint":null', gzip.decompress(client.dump(run.id)).decode())
            for one in data:
                content = content.replace(str(one), f"/data/{one.name}")
            path.write_bytes(gzip.compress(content.encode(), mtime=0))


def restore(client: Client, folder: Path, names: str = "*") -> None:
    """Load what `keep_dumps` wrote and the platform does not have: nothing of it is run again.

    `names`: a pattern of the files' names, without their suffix.
    """
    known = {run.name for run in client.list_experiments()}
    for path in sorted(folder.glob(f"{names}.jsonl.gz")):
        with gzip.open(path, "rt") as file:
            _, first = (json.loads(next(file)) for _ in range(2))
        if first["row"]["name"] not in known:
            client.load(path.read_bytes())


def run_to_end(client: Client, spec: ExperimentSpec) -> str:
    """The id of the experiment of that name, which is waited for."""
    run = find_or_create(client, spec)
    client.wait(run, poll_seconds=POLL_SECONDS)
    return run


def make_parser(doc: str | None, name: str) -> argparse.ArgumentParser:
    """Options of a benchmark that trains: of its platform, and `--data NAME=FOLDER ...`, pairs of a name and a path.

    `doc`: the module's; its first line is the description. `name`: the benchmark's.
    """
    parser = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    parser.add_argument(
        "--data",
        nargs="+",
        type=_read_folder,
        required=True,
        metavar="NAME=FOLDER",
        help=f"data sets in COCO format: {', '.join(EPOCHS)}",
    )
    add_platform_options(parser, name)
    return parser


def _read_folder(given: str) -> tuple[str, Path]:
    name, is_named, folder = given.partition("=")
    if name not in EPOCHS or not is_named or not Path(folder).is_dir():
        expected = f"{' or '.join(EPOCHS)}, an equals sign and a folder that exists"
        raise argparse.ArgumentTypeError(f"expected {expected}, got {given!r}")
    return name, Path(folder).resolve()


def add_platform_options(parser: argparse.ArgumentParser, name: str) -> None:
    """`--state` and `--workers` of the platform that a benchmark's trainings run through."""
    parser.add_argument("--state", type=Path, default=Path("state") / name)
    parser.add_argument("--workers", type=int, default=2)


def add_results_option(parser: argparse.ArgumentParser) -> None:
    """`--results` of a benchmark that goes on from its records."""
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        help="where records are; an empty folder, and another --state, run everything anew",
    )


def dataset_spec(name: str, folder: Path) -> DatasetSpec:
    """A data set in COCO format, with train.json, val.json, test.json and images/."""
    splits = {split: Split(annotations=f"{split}.json", images="images") for split in ("train", "val", "test")}
    return DatasetSpec(name=name, root=str(folder), **splits)
