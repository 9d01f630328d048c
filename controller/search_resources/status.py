"""What a Search resource says of its search. Pure functions: from facts to the JSON of `status`."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, Literal

from paploss.client.states import FINAL_EXPERIMENT_STATES

ConditionType = Literal["Accepted", "Changed", "Succeeded", "Failed"]
LONGEST_MESSAGE: Final = 32768
"""Of a condition, as Kubernetes has it."""
DELETED: Final = "deleted"
"""State of a search that was deleted while its resource stayed."""


@dataclass(frozen=True)
class SearchFacts:
    """A search as it is now."""

    id: str
    state: str
    reason: str
    trials_final: int
    trials_planned: int
    best: float | None
    """Of what it maximises; a fraction."""
    verdict: str
    """Which loss to use; empty before its end."""


@dataclass(frozen=True)
class Condition:
    """One condition, before it has a time."""

    type: ConditionType
    is_true: bool
    reason: str
    message: str = ""


def digest(search: Mapping[str, Any]) -> str:
    """SHA-256 (hexadecimal) of a request as it stands in a resource, by which a change is noticed."""
    return hashlib.sha256(json.dumps(search, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


def is_settled(status: Mapping[str, Any], generation: int) -> bool:
    """Whether nothing can change any more until somebody changes the spec or deletes the resource."""
    ended = status.get("state") in (*FINAL_EXPERIMENT_STATES, DELETED)
    return ended and status.get("observedGeneration") == generation


def describe_refused(before: Mapping[str, Any], generation: int, message: str) -> dict[str, Any]:
    """The status of a resource that stands for no search, because its request cannot be accepted."""
    refused = Condition("Accepted", False, "Refused", message)
    return {"observedGeneration": generation, "conditions": _date(before, generation, [refused])}


def describe_accepted(
    before: Mapping[str, Any], generation: int, facts: SearchFacts, accepted: str, given: str
) -> dict[str, Any]:
    """The status of a resource that stands for a search.

    Args:
        before: its status so far.
        generation: of the resource, as it was listed.
        facts: of its search.
        accepted: digest of the request that the search was created from.
        given: digest of the request that the resource has now.
    """
    ended = f"the search {facts.id} {facts.state}" + (f": {facts.reason}" if facts.reason else "")
    conditions = [
        Condition("Accepted", True, "Created", f"the search {facts.id}"),
        Condition("Succeeded", facts.state == "succeeded", facts.state.capitalize(), facts.verdict),
        Condition("Failed", facts.state == "failed", facts.state.capitalize(), ended if facts.reason else ""),
    ]
    if accepted != given:
        message = (
            f"spec.search has changed, and a search cannot: {facts.id} goes on as it was accepted. For another one, "
            "create another Search; for the old request, put it back"
        )
        conditions.append(Condition("Changed", True, "Immutable", message))
    described = {
        "observedGeneration": generation,
        "id": facts.id,
        "accepted": accepted,
        "state": facts.state,
        "trials": {"final": facts.trials_final, "planned": facts.trials_planned},
        "conditions": _date(before, generation, conditions),
    }
    return described if facts.best is None else described | {"best": round(facts.best, 4)}


def describe_deleted(before: Mapping[str, Any], generation: int) -> dict[str, Any]:
    """The status of a resource whose search was deleted: it is not created again."""
    return {**before, "observedGeneration": generation, "state": DELETED}


def _date(before: Mapping[str, Any], generation: int, conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """The JSON of conditions, each with the time since which it has been so."""
    earlier = {each["type"]: each for each in before.get("conditions", ())}
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    dated = []
    for each in conditions:
        known, value = earlier.get(each.type, {}), str(each.is_true)
        since = known["lastTransitionTime"] if known.get("status") == value else now
        dated.append(
            {
                "type": each.type,
                "status": value,
                "reason": each.reason,
                "message": each.message[:LONGEST_MESSAGE],
                "observedGeneration": generation,
                "lastTransitionTime": since,
            }
        )
    return dated
