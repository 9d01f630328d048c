"""Rewards side by side, paired by seed: of two losses, and what two searches have confirmed."""

from collections.abc import Mapping
from typing import Any

from paploss.client.sync_client import Client
from paploss.controller.experiments.comparison import paired_difference


def compare_confirmed(client: Client, searches: Mapping[str, str]) -> dict[str, Any]:
    """All candidates of two searches, and the first one's best minus the second one's, paired by seed.

    `searches`: their ids, by what the record calls them. They have confirmed with the same seeds.
    """
    candidates = {name: (client.best(search).report or {})["candidates"] for name, search in searches.items()}
    first, second = (
        {int(seed): reward for seed, reward in max(found, key=lambda one: one["mean"])["rewards"].items()}
        for found in candidates.values()
    )
    return {"confirmed": candidates, "_minus_".join(searches): subtract(first, second)}


def subtract(one: Mapping[int, float], other: Mapping[int, float]) -> dict[str, Any] | None:
    """The difference of rewards, paired by seed, as a record holds it; None where there is no common seed."""
    difference = paired_difference(one, other)
    return None if difference is None else difference.model_dump(mode="json")
