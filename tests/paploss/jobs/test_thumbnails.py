"""A thumbnail is a small baseline JPEG with nothing besides."""

import base64

import cv2
import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from paploss.jobs.thumbnails import LONGEST_SIDE_PX, MOST_BYTES, Thumbnail, check_jpeg


def encode(width=40, height=30, channels=3, **options):
    pixels = np.random.default_rng(1).integers(0, 256, (height, width, channels), dtype=np.uint8)
    flags = {"quality": cv2.IMWRITE_JPEG_QUALITY, "progressive": cv2.IMWRITE_JPEG_PROGRESSIVE}
    restart = {"restart": cv2.IMWRITE_JPEG_RST_INTERVAL}
    chosen = [number for name, value in options.items() for number in ((flags | restart)[name], value)]
    return cv2.imencode(".jpg", pixels, chosen)[1].tobytes()


GOOD = encode()
SEGMENT = b"\xff%c\x00\x06abcd"


@pytest.mark.parametrize(
    "data", [GOOD, encode(channels=1), encode(LONGEST_SIDE_PX, 1), encode(restart=2), encode(quality=5)]
)
def test_what_encoders_write_is_taken(data):
    check_jpeg(data)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "begins with FFD8"),
        (b"\xff\xd8\xff\xd9", "segment of a JPEG at byte 2"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>", "begins with FFD8"),
        (b"\x89PNG\r\n\x1a\n" + GOOD, "begins with FFD8"),
        (GOOD[:-10], "ends with FFD9"),
        (GOOD + b"PK\x03\x04 another file", "ends with FFD9"),
        (GOOD + b"another file\xff\xd9", "nothing behind the one scan"),
        (GOOD[:-2] + GOOD[2:], "nothing behind the one scan"),
        (GOOD[:2] + SEGMENT % 0xE1 + GOOD[2:], "without metadata, got a segment E1"),
        (GOOD[:2] + SEGMENT % 0xFE + GOOD[2:], "without metadata, got a segment FE"),
        (GOOD[:2] + SEGMENT % 0xE0 + GOOD[2:], "without metadata, got a segment E0"),
        (encode(progressive=1), "baseline JPEG"),
        (encode(LONGEST_SIDE_PX + 1, 8), "sides of 1 to 512 px, got 513 x 8 px"),
        (GOOD[:2] + b"\xff\xda\x00\x02" + GOOD[2:], "got a segment DA"),
        (GOOD[:20] + b"\xff\xdb\xff\xff" + GOOD[20:], "segment of a JPEG at byte 20"),
        (encode(400, 400, quality=100), f"at most {MOST_BYTES} bytes"),
    ],
)
def test_anything_else_is_refused_with_what_is_wrong(data, message):
    with pytest.raises(ValueError, match=message):
        check_jpeg(data)


def test_every_cut_of_a_jpeg_is_refused():
    for length in range(len(GOOD)):
        with pytest.raises(ValueError, match="expected"):
            check_jpeg(GOOD[:length])


def test_a_message_carries_it_as_base64():
    adapter = TypeAdapter(Thumbnail)
    text = base64.b64encode(GOOD).decode()
    assert adapter.validate_python(text) == text
    for wrong in (text + "\n", text[1:], "é", base64.b64encode(b"<html>").decode()):
        with pytest.raises(ValidationError, match="expected"):
            adapter.validate_python(wrong)
