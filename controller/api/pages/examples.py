"""Searches to begin with, offered by the page's form: those of the folder `examples`, which is not installed.

A test keeps them equal to the files, but for the root, which is a folder of this platform.
"""

from typing import Any

EXAMPLES: dict[str, dict[str, Any]] = {
    "digits": {
        "name": "digits",
        "profile": "retinanet-tiny",
        "dataset": {"name": "digits"},
        "algorithm": "ppo",
        "rounds": 4,
        "trials_per_round": 8,
        "overrides": {"epochs": 4},
        "confirm": {"candidates": 2, "seeds": 3},
    },
    "bccd": {
        "name": "bccd",
        "profile": "retinanet-tiny",
        "dataset": {
            "name": "bccd",
            "train": {"annotations": "train.json", "images": "images"},
            "val": {"annotations": "val.json", "images": "images"},
            "test": {"annotations": "test.json", "images": "images"},
        },
        "rounds": 12,
        "trials_per_round": 8,
        "overrides": {"epochs": 4},
        "confirm": {"candidates": 4, "seeds": 5, "published": True},
    },
    "coco": {
        "name": "coco",
        "profile": "retinanet-r50",
        "dataset": {
            "name": "coco",
            "train": {"annotations": "annotations/search_train2017.json", "images": "train2017"},
            "val": {"annotations": "annotations/search_val2017.json", "images": "train2017"},
            "test": {"annotations": "annotations/instances_val2017.json", "images": "val2017"},
        },
        "rounds": 40,
        "trials_per_round": 8,
        "confirm": {"candidates": 3, "seeds": 5, "published": True},
    },
}
