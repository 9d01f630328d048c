"""Write the clients without asyncio, `paploss/client/sync_*.py`: the asynchronous ones without `async` and `await`.

Run it after a change of `paploss/client/async_*.py`: `python deploy/make_client.py`. One text is the truth for both, so
that they cannot drift apart.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "paploss" / "client"
CLIENTS = {FOLDER / f"sync_{name}.py": FOLDER / f"async_{name}.py" for name in ("client", "session")}
"""What is written, by what it is made from."""

DOCSTRING = r" for asyncio(.*); `paploss\.client\.sync_(\w+)` is the same without\.\n"
DOCSTRING_OF_CLIENT = r"\1.\n\nMade from `paploss.client.async_\2` by `deploy/make_client.py`.\n"
REPLACED = {
    r"\nimport asyncio\n(import time\n)?": "\nimport time\n",
    r"asyncio\.sleep": "time.sleep",
    r"(from collections\.abc import) AsyncIterator, Callable": r"\1 Callable, Iterator",
    r"\bAsync(Client|Iterator|Session)\b": r"\1",
    r"\basync_session\b": "sync_session",
    r"\basync (def|with|for)\b": r"\1",
    r"\bfor (\w+) in ([\w.]+):\n +yield \1\n": r"yield from \2\n",
    r"(?<!\w)\((await [^()\n]*\([^()\n]*\))\)": r"\1",
    r"\bawait ": "",
    r"__a(enter|exit)__": r"__\1__",
    r"\baclose\b": "close",
    r"Safe to share between tasks\.": "Safe to use from several threads.",
}


def render(source: Path) -> str:
    """The text of a synchronous client."""
    text, count = re.subn(DOCSTRING, DOCSTRING_OF_CLIENT, source.read_text(), count=1)
    if not count:
        raise ValueError(f"{source}: expected a docstring like {DOCSTRING!r}")
    head, marker, body = text.partition("deploy/make_client.py")
    for pattern, replacement in REPLACED.items():
        body = re.sub(pattern, replacement, body)
    return head + marker + body


if __name__ == "__main__":
    for client, source in CLIENTS.items():
        client.write_text(render(source))
