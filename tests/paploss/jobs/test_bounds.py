"""Whatever others send is bounded: every number, text, list and map of every request and message."""

import inspect
from typing import Any

import pytest
from bounds import unbounded
from pydantic import TypeAdapter, ValidationError

from paploss.client.models import KeyRequest
from paploss.client.specs import ExperimentSpec, SearchSpec
from paploss.jobs import analysis, lease, metrics, spec
from paploss.jobs.messages import Message
from paploss.jobs.presets import identity
from paploss.jobs.spec import ProgressEvent, SyntheticOptions

MESSAGES = [
    model
    for module in (spec, metrics, lease, analysis)
    for _, model in inspect.getmembers(module, inspect.isclass)
    if issubclass(model, Message) and model.__module__ == module.__name__
]


@pytest.mark.parametrize(
    "model", [ExperimentSpec, KeyRequest, *MESSAGES], ids=lambda model: getattr(model, "__name__", "spec")
)
def test_every_field_of_what_is_sent_is_bounded(model: Any) -> None:
    assert list(unbounded(TypeAdapter(model).json_schema())) == []


def test_the_walk_finds_what_has_no_bounds() -> None:
    class Loose(Message):
        number: float
        names: dict[str, int]
        texts: tuple[str, ...]

    found = set(unbounded(Loose.model_json_schema()))
    assert {"/properties/number", "/properties/names", "/properties/texts", "/properties/texts/items"} <= found
    assert "/properties/names: keys" in found


@pytest.mark.parametrize("value", ["1e400", "-1e400", "NaN", "Infinity", "1" + "0" * 400])
@pytest.mark.parametrize(
    ("model", "field"),
    [
        (SyntheticOptions, "noise"),
        (SyntheticOptions, "iteration_seconds"),
        (ProgressEvent, "loss"),
        (ProgressEvent, "seconds"),
        (SearchSpec, "timeout_seconds"),
    ],
)
def test_no_message_admits_infinities_and_nan(model: type[Message], field: str, value: str) -> None:
    with pytest.raises(ValidationError, match=field):
        model.model_validate_json(f'{{"{field}": {value}}}')


def test_what_is_accepted_survives_its_own_json_at_its_bounds() -> None:
    options = SyntheticOptions(noise=100, iteration_seconds=86_400, iterations=2**31 - 1)
    job = spec.JobSpec(
        trial_id="t-000000", profile="synthetic", loss=identity(["bbox_head"]), synthetic=options, timeout_seconds=1e8
    )
    assert spec.JobSpec.model_validate_json(job.model_dump_json()) == job
