"""What follows from a verdict."""

from typing import Any

import pytest

from paploss.client.verdict import names_another


@pytest.mark.parametrize(
    ("verdict", "is_for_another"),
    [
        ({"use": "published", "is_decided": True}, True),
        ({"use": "published", "is_decided": False}, False),
        ({"use": "trial 3", "is_decided": True}, False),
        (None, False),
    ],
)
def test_only_a_decided_verdict_for_a_loss_that_was_not_found_names_another(
    verdict: dict[str, Any] | None, is_for_another: bool
) -> None:
    report = {"candidates": [{"label": "mean"}, {"label": "trial 3"}], "verdict": verdict}
    assert names_another(report) == is_for_another
