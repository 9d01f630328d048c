"""Where what can be made again is kept: the embedded data set, and what was read of image files."""

import atexit
import logging
import os
import shutil
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)


def find_cache() -> Path | None:
    """A folder that can be written to, below XDG_CACHE_HOME or the user's home; None where there is none."""
    try:
        given = os.environ.get("XDG_CACHE_HOME", "")
        # The standard has relative paths ignored.
        folder = (Path(given) if Path(given).is_absolute() else Path.home() / ".cache") / "paploss"
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError) as error:  # no home, or nobody may write there
        log.warning("no cache, images are read again each time; XDG_CACHE_HOME names a folder for it (%s)", error)
        return None


def temporary_folder() -> Path:
    """A folder that goes with this process."""
    folder = tempfile.mkdtemp(prefix="paploss-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return Path(folder)
