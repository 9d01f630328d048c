"""What is said of single values; whole documents are in tests/paploss/cli/test_specifications.py."""

from typing import Annotated, Any, Literal

import pytest
from pydantic import Field, TypeAdapter, ValidationError

from paploss.jobs.faults import describe_fault, describe_faults


@pytest.mark.parametrize(
    ("annotation", "given", "sentence"),
    [
        (Annotated[str, Field(min_length=1)], "", "expected 1 character or more, got ''"),
        (Annotated[str, Field(min_length=3)], "ab", "expected 3 characters or more, got 'ab'"),
        (Annotated[list[str], Field(min_length=1)], [], "expected 1 value or more, got 0"),
        (Annotated[int, Field(le=10_000_000)], 10_000_001, "expected 10000000 or less, got 10000001"),
        (Annotated[list[int], Field(max_length=2)], [1, 2, 3], "expected 2 values or fewer, got 3"),
        (list[int], {}, "expected a list, got keys with values"),
        (Literal["mail", "slack"], "slak", "expected one of 'mail', 'slack', got 'slak'; did you mean 'slack'?"),
        (Annotated[str, Field(pattern="^[a-z]$")], "A", "expected text that matches ^[a-z]$, got 'A'"),
        (int, "two", "expected a whole number, got 'two'"),
    ],
)
def test_a_fault_is_a_sentence_for_people(annotation: Any, given: Any, sentence: str) -> None:
    with pytest.raises(ValidationError) as refusal:
        TypeAdapter(annotation).validate_python(given)
    (fault,) = refusal.value.errors()
    assert describe_fault(fault) == sentence


def test_a_list_with_a_fault_in_it_is_not_also_told_to_be_short() -> None:
    with pytest.raises(ValidationError) as refusal:
        TypeAdapter(Annotated[tuple[int, ...], Field(min_length=1)]).validate_python(["two"])
    assert describe_faults(refusal.value, source="spec.yaml") == "spec.yaml: 0: expected a whole number, got 'two'"
