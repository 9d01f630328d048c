"""Checks of data sets, which the trainer makes in a child process; and the check before a search or a comparison."""

from collections.abc import Sequence
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from paploss.cli.failures import BAD_INPUT, CommandError
from paploss.cli.local_training import call_trainer
from paploss.client.specs import Request, SearchSpec
from paploss.jobs.dataset_files import find_missing
from paploss.jobs.dataset_report import DatasetReport, ReportedFinding
from paploss.jobs.metrics import REWARD
from paploss.jobs.profiles import PROFILES
from paploss.jobs.spec import DatasetSpec

NoCheckOption = Annotated[bool, typer.Option("--no-check", help="Do not read every image before the first step.")]
MOST_EXAMPLES = 20
_STYLES = {"error": "bold red", "warning": "yellow"}


def run_check(arguments: Sequence[str]) -> DatasetReport:
    """Run `python -m paploss.trainer check` with `arguments`.

    Raises:
        CommandError: what is asked for is not there.
    """
    return DatasetReport.model_validate_json(call_trainer(["check", *arguments], is_quiet=True))


def without_checks(dataset: DatasetSpec) -> DatasetSpec:
    """The data set for jobs that do not read all images first."""
    return dataset.model_copy(update={"check_files": False})


def check_first(request: Request, console: Console) -> None:
    """Check the data set of a search or a comparison, which is on this machine as its platform is; show its warnings.

    Raises:
        CommandError: there are errors; all are in the message.
    """
    dataset = request.dataset
    if PROFILES[request.profile].detector is None or not dataset.root:
        return
    try:
        missing = find_missing(dataset, request.weights)
    except OSError as error:
        raise CommandError(f"dataset: {error.filename}: cannot be read: {error.strerror}", BAD_INPUT) from error
    if missing:
        raise CommandError("\n".join(f"{field}: {fault}" for field, fault in missing.items()), BAD_INPUT)
    if isinstance(request, SearchSpec):
        dataset = dataset.model_copy(update={"test": None})  # a search does not touch it
    arguments = ["--dataset", dataset.model_dump_json(), "--profile", request.profile]
    arguments += ["--reward", REWARD.dump_json(request.reward).decode()]
    if request.overrides.image_size_px:
        arguments += ["--image-size", str(request.overrides.image_size_px)]
    with console.status("checking the data set ..."):
        report = run_check([*arguments, *([] if dataset.check_files else ["--no-check"])])
    errors = [finding for finding in report.findings if finding.level == "error"]
    if errors:
        raise CommandError("\n".join(_describe(finding).plain.removeprefix("error: ") for finding in errors), BAD_INPUT)
    for finding in report.findings:
        show_finding(finding, console, most_examples=3)


def show_finding(finding: ReportedFinding, console: Console, most_examples: int = MOST_EXAMPLES) -> None:
    """Print a finding with its first examples; nothing in it is read as markup."""
    console.print(_describe(finding, most_examples), soft_wrap=True)


def _describe(finding: ReportedFinding, most_examples: int = MOST_EXAMPLES) -> Text:
    text = Text.assemble((f"{finding.level}: ", _STYLES[finding.level]), finding.summary)
    shown = finding.examples[:most_examples]
    for example in shown:
        text.append(f"\n  {example}", style="dim" if finding.level == "warning" else "")
    if shown and finding.count > len(shown):
        text.append(f"\n  ... and {finding.count - len(shown)} more", style="dim")
    return text
