"""Write `paploss/client/sync_client.py`: the asynchronous client without its `async` and `await`.

Run it after a change of `paploss/client/async_client.py`: `python deploy/make_client.py`. One text is the truth for
both, so that they cannot drift apart.
"""

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "paploss" / "client" / "async_client.py"
CLIENT = ROOT / "paploss" / "client" / "sync_client.py"

DOCSTRING = "interface for asyncio; `paploss.client.sync_client` is the same without."
DOCSTRING_OF_CLIENT = """interface, for programs and for the command line.

Made from `paploss.client.async_client` by `deploy/make_client.py`."""
REPLACED = {
    r"\nimport asyncio\n": "\n",
    r"asyncio\.sleep": "time.sleep",
    r"from collections\.abc import AsyncIterator, Callable": "from collections.abc import Callable, Iterator",
    r"\bAsync(Client|Iterator)\b": r"\1",
    r"\basync (def|with|for)\b": r"\1",
    r"\bfor (\w+) in ([\w.]+):\n +yield \1\n": r"yield from \2\n",
    r"(?<!\w)\((await [^()\n]*\([^()\n]*\))\)": r"\1",
    r"\bawait ": "",
    r"__a(enter|exit)__": r"__\1__",
    r"\baclose\b": "close",
    r"Safe to share between tasks\.": "Safe to use from several threads.",
}


def render() -> str:
    """The text of the synchronous client."""
    text = SOURCE.read_text()
    if DOCSTRING not in text:
        raise ValueError(f"{SOURCE}: expected a docstring with {DOCSTRING!r}")
    text = text.replace(DOCSTRING, DOCSTRING_OF_CLIENT)
    for pattern, replacement in REPLACED.items():
        text = re.sub(pattern, replacement, text)
    return text


if __name__ == "__main__":
    CLIENT.write_text(render())
