"""From a job's data set to its checked splits."""

from dataclasses import dataclass, replace
from pathlib import Path

from paploss.jobs.spec import DatasetSpec, JobSpec, Split
from paploss.trainer.datasets.coco import CocoSplit, read_split
from paploss.trainer.datasets.digits import embedded_digits
from paploss.trainer.errors import UserError


@dataclass(frozen=True)
class JobData:
    """What a job trains and is evaluated on."""

    dataset: DatasetSpec
    """With a root, for the embedded data set too."""
    train: CocoSplit
    test: CocoSplit
    """The split that the job is evaluated on, val or test."""

    def without_training_images(self) -> "JobData":
        """The same without the images of `train` and their annotations, for when they are no longer needed."""
        return replace(self, train=replace(self.train, images=(), annotations=()))


def read_job_data(spec: JobSpec, data_cache: Path | None) -> JobData:
    """The splits of a job's data set.

    Args:
        spec: the job.
        data_cache: folder where the embedded data set is made on first use; None for this user's cache.

    Raises:
        UserError: a split is missing, not COCO's, without objects, or has other classes than the training split.
    """
    dataset = spec.dataset if spec.dataset.root else embedded_digits(data_cache)
    train = read_split(Path(dataset.root), split_of(dataset, "train"))
    test = read_split(Path(dataset.root), split_of(dataset, spec.evaluate_split))
    if test.categories_by_id != train.categories_by_id:
        raise UserError(f"{test.annotation_file}: categories differ from those of {train.annotation_file}")
    for split in (train, test):
        if not any(annotation["iscrowd"] == 0 for annotation in split.annotations):
            raise UserError(f"{split.annotation_file}: expected at least one object that is not a crowd")
    # Labels are positions in the training file's categories; another file may list the same ones in another order.
    return JobData(dataset, train, replace(test, categories=train.categories))


def split_of(dataset: DatasetSpec, name: str) -> Split:
    """The split `name` of a data set.

    Raises:
        UserError: it has none.
    """
    split: Split | None = getattr(dataset, name)
    if split is None:
        raise UserError(f"dataset.{name}: expected, the job needs this split of {dataset.name!r}")
    return split
