"""The platform that a benchmark's trainings run through, and experiments that are found again by their names."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from paploss.cli.address import Address, find_running
from paploss.cli.platform import run_platform
from paploss.client.specs import ExperimentSpec
from paploss.client.sync_client import Client
from paploss.jobs.spec import DatasetSpec, Split

POLL_SECONDS = 15.0


@contextmanager
def connect(state: Path, workers: int, data: Sequence[Path]) -> Iterator[Address]:
    """The platform that runs over `state`, started if there is none; `data`: folders that its trainings may read."""
    if running := find_running(state):
        yield running
        return
    with run_platform(state, None, workers, data) as platform:
        yield platform.address


def find_or_create(client: Client, spec: ExperimentSpec) -> str:
    """The id of the experiment of that name: the one that a stopped benchmark left, or a new one."""
    found = (run.id for run in client.list_experiments(spec.kind) if run.name == spec.name)
    return next(found, None) or client.create(spec).id


def dataset_spec(name: str, folder: Path) -> DatasetSpec:
    """A data set in COCO format, with train.json, val.json, test.json and images/."""
    splits = {split: Split(annotations=f"{split}.json", images="images") for split in ("train", "val", "test")}
    return DatasetSpec(name=name, root=str(folder), **splits)
