"""Requests as they are stored and answered: of any version, read by `SPEC.read(experiment.spec)`."""

from typing import Final

from paploss.client.algorithms import expand_name
from paploss.client.specs import ExperimentSpec
from paploss.jobs.documents import JsonObject, Schema


def _tell_kinds_apart(spec: JsonObject) -> JsonObject:
    """Version 1 (0.1.0): a search has no kind, an algorithm is a name; nothing is screened, no rivals race."""
    if "losses" not in spec:
        given = spec.get("confirm", {})
        seeds = given.get("seeds", 3)
        confirm = {**given, "rivals": (), "seeds": seeds, "most_seeds": seeds}
        algorithm = expand_name(spec.get("algorithm", "ppo"))
        return {"screen": False, **spec, "kind": "search", "algorithm": algorithm, "confirm": confirm}
    kind = "comparison" if spec.get("kind") == "compare" else "training"
    return {"seeds": (0,), "learning_rates": (), **spec, "kind": kind}


SPEC: Final[Schema[ExperimentSpec]] = Schema("the request", ExperimentSpec, _tell_kinds_apart)
