"""From a job's data set to its two checked splits."""

from pathlib import Path

from jobs.spec import DatasetSpec, JobSpec, Split
from trainer.datasets.coco import CocoSplit, read_split
from trainer.datasets.digits import embedded_digits
from trainer.errors import UserError


def read_job_splits(spec: JobSpec, data_cache: Path) -> tuple[CocoSplit, CocoSplit]:
    """The training split of a job and the one it is evaluated on.

    Raises:
        UserError: a split is missing, not COCO's, without objects, or has other classes than the training split.
    """
    root, dataset = located(spec.dataset, data_cache)
    train = read_split(root, _named(dataset, "train"))
    test = read_split(root, _named(dataset, spec.evaluate_split))
    if test.categories_by_id != train.categories_by_id:
        raise UserError(f"{test.annotation_file}: categories differ from those of {train.annotation_file}")
    for split in (train, test):
        if not any(annotation["iscrowd"] == 0 for annotation in split.annotations):
            raise UserError(f"{split.annotation_file}: expected at least one object that is not a crowd")
    return train, test


def located(dataset: DatasetSpec, data_cache: Path) -> tuple[Path, DatasetSpec]:
    """Root and splits of a data set; the embedded one is made in `data_cache` on first use."""
    found = dataset if dataset.root else embedded_digits(data_cache)
    return Path(found.root), found


def _named(dataset: DatasetSpec, name: str) -> Split:
    split: Split | None = getattr(dataset, name)
    if split is None:
        raise UserError(f"dataset.{name}: expected for a job that evaluates on {name}")
    return split
