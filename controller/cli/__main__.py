"""`python -m controller.cli` is `paploss`."""

from controller.cli.main import app

app(prog_name="paploss")
