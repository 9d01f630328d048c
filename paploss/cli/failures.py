"""How commands fail: a message for people on standard error, and an exit status for programs."""

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
