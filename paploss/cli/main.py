"""The command line `paploss`: its commands, in the order that `--help` shows."""

import typer

from paploss.cli import backups, checks, comparisons, datasets, keys, results, searches, service_commands, trainings
from paploss.cli.failures import EXIT_STATUSES, Group

app = typer.Typer(
    name="paploss",
    cls=Group,
    help="Search Parameterized AP losses for object detection, and train with them.",
    epilog=EXIT_STATUSES,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
app.command()(searches.search)
app.command("list")(searches.list_all)
app.command()(searches.show)
app.command()(searches.pause)
app.command()(searches.resume)
app.command()(searches.cancel)
app.command()(backups.dump)
app.command()(backups.load)
app.command()(results.export)
app.command()(results.report)
app.command()(comparisons.compare)
app.command()(trainings.train)
app.command("test")(trainings.measure)
app.command()(datasets.doctor)
app.command()(datasets.convert)
app.command()(datasets.convert_voc)
app.command()(trainings.split)
app.command()(service_commands.up)
app.command()(service_commands.serve)
app.command()(service_commands.migrate)
app.command()(checks.check)
app.add_typer(keys.app, name="keys")
