"""Errors that the trainer tells apart."""


class UserError(Exception):
    """The job or its data is wrong; the message names the field or file. A retry cannot mend it."""


class HandedBack(Exception):  # noqa: N818 - an outcome, not an error
    """The trainer was asked to stop and left a checkpoint."""
