"""Where files go that can be made again: the XDG cache folder, or another where there is none."""

import logging
import os
import pwd
import tempfile
from pathlib import Path

log = logging.getLogger(__name__)


def find_cache_folder() -> Path:
    """A folder of ours to write to: below XDG_CACHE_HOME or ~/.cache; where neither can be had, a temporary one, which
    is said.

    Raises:
        OSError: not even that can be written to.
    """
    refusals = []
    for parent in _list_parents():
        try:
            return _make(parent / "paploss")
        except OSError as error:
            refusals.append(f"{parent}: {error.strerror}")
    folder = Path(tempfile.gettempdir()) / f"paploss-{os.getuid()}"
    try:
        _make(folder)
    except OSError:  # somebody else's, or a file
        folder = Path(tempfile.mkdtemp(prefix="paploss-"))
    reason = "; ".join(refusals) or "there is no home folder"
    log.warning("no cache folder (%s), name one with XDG_CACHE_HOME: using %s", reason, folder)
    return folder


def provide_home() -> None:
    """Name a home and a cache folder in the environment of a user who has none: libraries fail without.

    Raises:
        OSError: no folder for them can be written to.
    """
    folder = find_cache_folder()
    try:
        has_home = Path.home().is_dir()
    except RuntimeError:
        has_home = False
    if not has_home:
        os.environ["HOME"] = str(folder)
    if folder.name != "paploss":  # neither below XDG_CACHE_HOME nor below the home
        os.environ["XDG_CACHE_HOME"] = str(folder)
    try:
        pwd.getpwuid(os.getuid())
    except KeyError:
        os.environ.setdefault("USER", str(os.getuid()))


def _list_parents() -> list[Path]:
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if given.is_absolute():  # the standard says to ignore another
        return [given]
    try:
        return [Path.home() / ".cache"]
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return []


def _make(folder: Path) -> Path:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid() or not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(0, "not a writable folder of this user", str(folder))
    return folder
