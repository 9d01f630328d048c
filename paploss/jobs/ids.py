"""Ids of trials: an experiment's id and the trial's number in it."""

from typing import Final

_SEPARATOR: Final = "-"


def make_trial_id(experiment_id: str, number: int) -> str:
    """The id of an experiment's trial."""
    return f"{experiment_id}{_SEPARATOR}{number:06d}"


def experiment_of(trial_id: str) -> str:
    """The id of the experiment that a trial belongs to."""
    return trial_id.rpartition(_SEPARATOR)[0]


def number_of(trial_id: str) -> int:
    """A trial's number in its experiment.

    Raises:
        ValueError: it is not the id of a trial.
    """
    number = trial_id.rpartition(_SEPARATOR)[2]
    if not (number.isascii() and number.isdecimal()):
        raise ValueError(f"trial id: expected an experiment's id, a hyphen and a number, got {trial_id!r}")
    return int(number)
