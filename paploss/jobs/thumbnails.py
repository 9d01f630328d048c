"""Thumbnails: small JPEGs that a trainer makes, and that browsers of other people decode.

Whoever takes one looks at each of its bytes' places first: it is a baseline JPEG of bounded sides with one scan, and
nothing besides. There is no room in it for another file, for metadata, or for what is only called a JPEG.
"""

import base64
import re
from typing import Annotated, Final

from pydantic import AfterValidator, Field

MOST_BYTES: Final = 60_000
LONGEST_SIDE_PX: Final = 512

_START, _END = b"\xff\xd8", b"\xff\xd9"
_JFIF, _BASELINE, _SCAN = 0xE0, 0xC0, 0xDA
_TABLES: Final = frozenset({0xDB, 0xC4, 0xDD})
"""Quantisation, Huffman codes, restart interval."""
_JFIF_LENGTH = 16
"""Of that segment without a thumbnail of its own."""
_STRAY = re.compile(rb"\xff(?![\x00\xd0-\xd7])", re.DOTALL)
"""In a scan: anything but a stuffed byte and a restart."""


def check_jpeg(data: bytes) -> None:
    """Refuse what is no small baseline JPEG (ITU-T T.81) with one scan and without metadata.

    Raises:
        ValueError: says what was expected.
    """
    if len(data) > MOST_BYTES:
        raise ValueError(f"expected a JPEG of at most {MOST_BYTES} bytes, got {len(data)}")
    if not (data.startswith(_START) and data.endswith(_END)):
        raise ValueError("expected a JPEG: it begins with FFD8 and ends with FFD9")
    place, frames = len(_START), 0
    while True:
        head = data[place : place + 4]
        length = int.from_bytes(head[2:])
        content = data[place + 4 : place + 2 + length]
        if len(head) < 4 or head[0] != 0xFF or len(content) != length - 2:
            raise ValueError(f"expected a segment of a JPEG at byte {place}")
        place += 2 + length
        match head[1]:
            case code if code == _BASELINE and frames == 0:
                _check_frame(content)
                frames = 1
            case code if code == _SCAN and frames == 1:
                break
            case code if code in _TABLES or (code == _JFIF and length == _JFIF_LENGTH):
                continue
            case code:
                raise ValueError(f"expected a baseline JPEG without metadata, got a segment {code:02X}")
    if _STRAY.search(data, place, len(data) - len(_END)):
        raise ValueError("expected nothing behind the one scan of a JPEG")


def _check_frame(content: bytes) -> None:
    if len(content) < 6 or content[0] != 8 or content[5] not in (1, 3):
        raise ValueError("expected a JPEG of 8 bits in 1 or 3 channels")
    height, width = int.from_bytes(content[1:3]), int.from_bytes(content[3:5])
    if not (1 <= width <= LONGEST_SIDE_PX and 1 <= height <= LONGEST_SIDE_PX):
        raise ValueError(f"expected sides of 1 to {LONGEST_SIDE_PX} px, got {width} x {height} px")


def _check(text: str) -> str:
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError as error:  # characters beyond ASCII have one of their own
        raise ValueError(f"expected base64: {error}") from error
    check_jpeg(data)
    return text


LONGEST_TEXT: Final = 4 * -(-MOST_BYTES // 3)
"""Characters of a thumbnail in base64."""

Thumbnail = Annotated[str, Field(max_length=LONGEST_TEXT), AfterValidator(_check)]
"""A thumbnail in base64."""
