"""Small images for data sets as tools write them."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

WIDTH, HEIGHT = 64, 48


@pytest.fixture
def draw() -> Callable[[Path], None]:
    """Writes a different image of WIDTH x HEIGHT to each file."""
    generator = np.random.default_rng(0)

    def write(*files: Path) -> None:
        for file in files:
            file.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(file), generator.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8))

    return write
