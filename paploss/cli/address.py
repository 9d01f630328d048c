"""Where the platform of a folder of state is, for commands that talk to it."""

import fcntl
import json
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Address:
    """Where a running controller is, and a key for it."""

    url: str
    key: str


def find_running(state_dir: Path) -> Address | None:
    """The controller that runs over this folder on this machine; none where there is none."""
    try:
        with (state_dir / "lock").open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        try:
            url = json.loads((state_dir / "address.json").read_bytes())["url"]
            return Address(url, (state_dir / "keys" / "admin").read_text(encoding="ascii"))
        except (OSError, ValueError, KeyError):
            return None  # just starting
    except OSError:
        return None
    return None
