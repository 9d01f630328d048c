"""How commands fail: a message for people on standard error, and an exit status for programs."""

from typing import Any, NoReturn

import typer
from rich.console import Console
from typer.core import TyperGroup

from paploss.client.sync_client import ApiError, UnreachableError

FAILED, BAD_INPUT, UNREACHABLE, REFUSED, INTERRUPTED = 1, 2, 3, 4, 130

EXIT_STATUSES = (
    "Exit status: 0 done; 1 it ran and failed; 2 bad input, nothing was started; 3 no controller answers; "
    "4 the controller refuses; 130 interrupted."
)


class CommandError(Exception):
    """Ends the command with a message and a status."""

    def __init__(self, message: str, status: int = FAILED) -> None:
        super().__init__(message)
        self.status = status


class Group(TyperGroup):
    """Commands whose failures end with their message and status instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            _fail(str(error), error.status)
        except UnreachableError as error:
            _fail(str(error), UNREACHABLE)
        except ApiError as error:
            _fail(str(error), REFUSED)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def _fail(message: str, status: int) -> NoReturn:
    # Not rich markup: messages quote files and values, which may hold brackets.
    Console(stderr=True).print(f"paploss: {message}", markup=False, highlight=False, soft_wrap=True)
    raise typer.Exit(status) from None
