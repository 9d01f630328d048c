"""Entry point of `python -m paploss.trainer`."""

import sys

from paploss.trainer.commands import main

sys.exit(main())
