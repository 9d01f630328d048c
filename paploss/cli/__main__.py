"""`python -m paploss.cli` is `paploss`."""

from paploss.cli.main import app

app(prog_name="paploss")
