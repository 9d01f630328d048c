"""Samples as bytes, so that processes that load images can share them."""

import json
from collections.abc import Iterable
from typing import Any

import numpy as np

Json = dict[str, Any]


class Records:
    """JSON objects, kept serialised in one array; each access makes a new object.

    Loading processes are forked and share memory as long as nobody writes to it. Python writes to every object that it
    looks at, because it counts references: a million small objects would soon be in each process anew. An array is one.
    """

    def __init__(self, objects: Iterable[Json]) -> None:
        content = [json.dumps(one).encode() for one in objects]
        self._bytes = np.frombuffer(b"".join(content), dtype=np.uint8)
        self._bounds = np.cumsum([0, *map(len, content)])

    def __len__(self) -> int:
        return len(self._bounds) - 1

    def __getitem__(self, index: int) -> Json:
        start, end = self._bounds[index], self._bounds[index + 1]
        found: Json = json.loads(self._bytes[start:end].tobytes())
        return found
