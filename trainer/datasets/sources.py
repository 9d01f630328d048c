"""From a job's data set to its checked splits."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from paploss.jobs.spec import DatasetSpec, JobSpec, Split
from paploss.trainer.datasets.check import check_objects, check_reward, check_splits, match_categories
from paploss.trainer.datasets.coco import CocoSplit, read_split
from paploss.trainer.datasets.digits import embedded_digits
from paploss.trainer.datasets.findings import Findings
from paploss.trainer.datasets.visibility import Visibility
from paploss.trainer.errors import UserError


@dataclass(frozen=True)
class JobData:
    """What a job trains and is evaluated on."""

    dataset: DatasetSpec
    """With a root, for the embedded data set too."""
    train: CocoSplit
    test: CocoSplit
    """The split that the job is evaluated on, val or test."""
    findings: Findings
    """Without errors."""

    def without_training_images(self) -> "JobData":
        """The same without the images of `train` and their annotations, for when they are no longer needed."""
        return replace(self, train=replace(self.train, images=(), annotations=()))


def read_job_data(spec: JobSpec, cache: Path | None) -> JobData:
    """The splits of a job's data set.

    Args:
        spec: the job.
        cache: folder where the embedded data set is made on first use; None for this user's cache.

    Raises:
        UserError: a split is missing, not COCO's, without objects, or has other classes than the training split.
    """
    dataset = spec.dataset if spec.dataset.root else embedded_digits(cache)
    findings = Findings()
    splits = read_splits(dataset, ("train", spec.evaluate_split), findings)
    findings.raise_errors()
    return JobData(dataset, splits["train"], splits[spec.evaluate_split], findings)


def check_job_data(
    spec: JobSpec,
    data: JobData,
    visibility: Visibility,
    cache: Path | None,
    on_image: Callable[[], None] = lambda: None,
) -> None:
    """Checks what a job will read, its images too unless its data set says otherwise; warnings go to `data.findings`.

    `on_image` is called after each image; it may raise to leave.

    Raises:
        UserError: there are errors; all are in the message.
    """
    splits = {"train": data.train, spec.evaluate_split: data.test}
    # The embedded images were made by this program.
    files = spec.dataset.check_files and bool(spec.dataset.root)
    limit = visibility if spec.dataset.root else None
    check_splits(splits, data.findings, cache=cache, files=files, visibility=limit, on_image=on_image)
    check_reward(data.test, spec.reward, data.findings)
    data.findings.raise_errors()


def read_splits(dataset: DatasetSpec, names: tuple[str, ...], findings: Findings) -> dict[str, CocoSplit]:
    """Splits of a data set with a root, by name; `train` comes first and says which classes there are.

    Raises:
        UserError: a file cannot be read as COCO's.
    """
    root = Path(dataset.root)
    splits = {name: read_split(root, split_of(dataset, name), findings) for name in names}
    return with_classes_of_train(splits, findings)


def with_classes_of_train(splits: dict[str, CocoSplit], findings: Findings) -> dict[str, CocoSplit]:
    """The splits, each with the categories of the first: a label means the same in all of them."""
    train, *others = splits
    for name in others:
        match_categories(splits[name], splits[train], findings)
    if not findings.has_errors:
        splits = {name: replace(split, categories=splits[train].categories) for name, split in splits.items()}
    for split in splits.values():
        check_objects(split, findings)
    return splits


def split_of(dataset: DatasetSpec, name: str) -> Split:
    """The split `name` of a data set.

    Raises:
        UserError: it has none.
    """
    split: Split | None = getattr(dataset, name)
    if split is None:
        raise UserError(f"dataset.{name}: expected, the job needs this split of {dataset.name!r}")
    return split
