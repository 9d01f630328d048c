"""The frameworks whose form an exported loss can take."""

from typing import Literal

Framework = Literal["torch", "transformers", "torchvision", "mmdet"]
"""`torch` is any training loop; the others have a bridge in `trainer/bridges`."""
