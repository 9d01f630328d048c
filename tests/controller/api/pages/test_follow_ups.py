"""What follows from a search, started from its page."""

import pytest

from paploss.client.specs import SearchSpec
from paploss.controller.api.pages.follow_ups import follow


@pytest.mark.parametrize("kind", ["training", "comparison"])
def test_a_follow_up_measures_what_the_search_maximised(kind):
    search = SearchSpec.model_validate({"profile": "retinanet-tiny", "reward": {"class": "Platelets"}})
    assert follow(search, "1", kind).reward == search.reward
