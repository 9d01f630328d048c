"""The command line `paploss`: its commands, in the order that `--help` shows."""

import typer

from controller.cli import service_commands
from controller.cli.failures import EXIT_STATUSES, Group

app = typer.Typer(
    name="paploss",
    cls=Group,
    help="Search Parameterized AP losses for object detection, and train with them.",
    epilog=EXIT_STATUSES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for function in (service_commands.up, service_commands.serve, service_commands.migrate):
    app.command()(function)
