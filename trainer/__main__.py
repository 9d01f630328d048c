"""Entry point of `python -m trainer`."""

import sys

from trainer.commands import main

sys.exit(main())
