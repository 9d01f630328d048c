"""Outcomes of an attempt that are not a result."""


class UserError(Exception):
    """The job or its data is wrong; the message names the field or file. A retry cannot fix it."""


class OutOfMemory(Exception):  # noqa: N818 - named like the result it leads to
    """The training does not fit into the memory of this machine or device."""


class Interrupted(Exception):  # noqa: N818 - an outcome, not an error
    """The trainer was asked to stop and left a checkpoint."""
