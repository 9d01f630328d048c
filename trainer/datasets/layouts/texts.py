"""Reading text and XML that tools of other systems and countries wrote."""

import codecs
import re
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree  # expat bounds what entities expand to, and loads none from elsewhere

from paploss.trainer.errors import UserError

_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
"""Byte order marks; those of UTF-32 begin like those of UTF-16."""
_LARGER = {"gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949"}
"""What is declared, and what contains it: tools declare the one and write the other."""
_GUESSES = ("utf-8", "gb18030", "cp932", "cp949", "cp1252")
"""For lists that declare nothing, in order; a guess has to make sense."""
_DECLARATION = re.compile(r"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""")


def read_bytes(file: Path) -> bytes:
    """The content of a file.

    Raises:
        UserError: it cannot be read.
    """
    try:
        return file.read_bytes()
    except OSError as error:
        raise UserError(f"{file}: cannot be read: {error.strerror}") from error


def read_lines(file: Path, makes_sense: Callable[[list[str]], bool] = lambda _: False) -> list[str]:
    """Lines of a text, without blanks at their ends and empty ones; see `read_numbered_lines`."""
    return list(read_numbered_lines(file, makes_sense).values())


def read_numbered_lines(file: Path, makes_sense: Callable[[list[str]], bool] = lambda _: False) -> dict[int, str]:
    """Lines of a text by their numbers, from 0, without blanks at their ends; empty ones count and are left out.

    Args:
        file: in UTF-8, or in UTF-16 or UTF-32 with a byte order mark.
        makes_sense: whether lines that were read in another encoding, which the file does not declare, can be right.

    Raises:
        UserError: it cannot be read or decoded.
    """
    content = read_bytes(file)
    marked = _marked_encoding(content)
    if marked is None and b"\0" in content[:4096]:
        marked = "utf-16-le" if content[1:2] == b"\0" else "utf-16-be"
    for encoding in (marked,) if marked else _GUESSES:
        try:
            text = content.decode(encoding)
        except UnicodeError:
            continue
        lines = {number: line.strip() for number, line in enumerate(text.splitlines()) if line.strip()}
        if marked or encoding == "utf-8" or makes_sense(list(lines.values())):
            return lines
    raise UserError(f"{file}: cannot be decoded: expected UTF-8, or UTF-16 with a byte order mark")


def read_xml(file: Path) -> ElementTree.Element:
    """The root of an XML file in any encoding that Python knows; UTF-8 where it declares none.

    Raises:
        UserError: it cannot be read, decoded or parsed.
    """
    content = read_bytes(file)
    marked = _marked_encoding(content)
    head = content[:200].decode(marked or "latin-1", "replace")
    declared = _DECLARATION.match(head)
    encoding = marked or (declared.group(1) if declared else "utf-8")
    try:
        name = codecs.lookup(encoding).name
        text = content.decode(_LARGER.get(name, name))
    except LookupError as error:
        raise UserError(f"{file}: declares the encoding {encoding!r}, which Python does not know") from error
    except UnicodeError as error:
        reason = "as it declares" if declared else "and declares no other encoding"
        raise UserError(f"{file}: is not in {encoding}, {reason}") from error
    try:
        return ElementTree.fromstring(_DECLARATION.sub("", text.lstrip("\ufeff")))  # noqa: S314 (see the import)
    except (ElementTree.ParseError, ValueError) as error:
        raise UserError(f"{file}: not XML: {error}") from error


def _marked_encoding(content: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS.items() if content.startswith(mark)), None)
