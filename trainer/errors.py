"""Outcomes of an attempt that are not a result."""

import errno


class UserError(Exception):
    """The job or its data is wrong; the message names the field or file. A retry cannot fix it."""


class MachineError(Exception):
    """This machine cannot do now what the job needs: a GPU is gone, or a disk gives errors. A retry may find it mended,
    or another machine."""


class OutOfMemory(Exception):  # noqa: N818 - named like the result it leads to
    """The training does not fit into the memory of this machine or device."""


class Interrupted(Exception):  # noqa: N818 - an outcome, not an error
    """The trainer was asked to stop and left a checkpoint."""


_OF_THE_FILE = frozenset(
    {
        errno.EACCES,
        errno.EINVAL,
        errno.EISDIR,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EPERM,
    }
)
"""What a user can mend. Others are of a disk, a network or a limit: an input/output error, a stale file handle."""


def blame_machine(file: object, error: Exception) -> None:
    """To be called where a file cannot be read: returns where the file is to blame.

    Raises:
        MachineError: it is not.
    """
    if isinstance(error, OSError) and error.errno is not None and error.errno not in _OF_THE_FILE:
        raise MachineError(f"{file}: cannot be read: {error.strerror}") from error
