"""Errors of the store; the API maps each to a status code."""


class StoreError(Exception):
    """Base of these errors; the text is shown to users."""


class NotFoundError(StoreError):
    """There is no such experiment, trial, round, key or token (404)."""


class ConflictError(StoreError):
    """The current state does not allow it, or another attempt holds the trial (409)."""


class RightsError(StoreError):
    """More rights are asked for than whoever asks has (403)."""


class GoneError(StoreError):
    """The trial has ended; a worker that still trains it must stop (410)."""


class LateResultError(ConflictError):
    """A result came after its trial was claimed again or ended (409); it is kept for audit."""

    def __init__(self, message: str, attempt: int) -> None:
        super().__init__(message)
        self.attempt = attempt


class LeadershipLostError(StoreError):
    """Another process leads now, or this one's term has expired; its transaction must not commit."""


class SchemaError(StoreError):
    """The database's schema is not the one this program was written for."""


class DumpError(StoreError):
    """A file does not hold an experiment that this program can load (422)."""
