"""The scripts of docs/ are no package: tests import them as modules."""

import sys

from charts import ROOT

sys.path.insert(0, str(ROOT / "docs"))
