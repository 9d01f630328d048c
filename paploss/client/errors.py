"""What goes wrong with a request to a controller, in words for people."""

from collections.abc import Mapping

PASSING = frozenset({429, 502, 503, 504})
"""Statuses after which the same request may succeed."""
LONGEST_WAIT_SECONDS = 30.0
"""However long a Retry-After asks for."""


class ClientError(Exception):
    """What goes wrong with a request; the text is for people."""


class ApiError(ClientError):
    """The controller refuses. `fields` has, for each field at fault, its JSON pointer and what is wrong with it."""

    def __init__(
        self, status: int, title: str, detail: str, fields: Mapping[str, str], retry_seconds: float | None = None
    ) -> None:
        super().__init__(detail or title)
        self.status = status
        self.title = title
        self.detail = detail
        self.fields = dict(fields)
        self.retry_seconds = retry_seconds

    @property
    def field(self) -> str | None:
        """JSON pointer of the first field at fault, e.g. "/confirm/seeds"."""
        return next(iter(self.fields), None)


class UnreachableError(ClientError):
    """The controller cannot be reached, or what answers there is not one."""


def is_passing(error: ClientError) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(error, UnreachableError) or (isinstance(error, ApiError) and error.status in PASSING)


def pause_after(error: ClientError, pause_seconds: float) -> float:
    """How long to wait before the next attempt: `pause_seconds`, after what the controller asks for."""
    asked = error.retry_seconds if isinstance(error, ApiError) else None
    return pause_seconds + min(asked or 0.0, LONGEST_WAIT_SECONDS)
