"""The pictures of a training, in a real browser."""

import pytest
from analyses import make_analysis
from browsers import Visitor
from controllers import PlayedWorker, RunningController
from scenarios import training_spec

from paploss.client import Client

pytestmark = pytest.mark.browser


@pytest.mark.parametrize("width_px", [1280, 390])
def test_a_threshold_hides_what_scores_below_it_on_its_side_alone(
    controller: RunningController, client: Client, worker: PlayedWorker, visitor: Visitor, width_px: int
) -> None:
    experiment = client.create(training_spec("comparison", seeds=[1], learning_rates=[])).id
    for trial in client.trials(experiment):
        worker.run(trial.id, make_analysis())
    page = visitor.sign_in(controller, "viewer", viewport={"width": width_px, "height": 900})
    page.goto(f"{controller.url}/experiments/{experiment}")
    page.locator("#figure-error-costs .main-svg").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") == width_px
    pictures = page.locator(".picture")
    assert pictures.count() == 4
    assert page.evaluate("[...document.querySelectorAll('.picture image')].length") == 4

    def shown(side: int) -> tuple[int, int, int]:
        """Hits, duplicates and missed objects."""
        return tuple(  # type: ignore[return-value]
            page.locator(f'.picture[data-side="{side}"] {which}').count()
            for which in (".hit:not([hidden])", ".duplicate:not([hidden])", ".missed")
        )

    assert shown(0) == shown(1) == (2, 0, 2)
    slider = page.locator("input[data-threshold]").first
    slider.fill("0.18")
    assert (shown(0), shown(1)) == ((2, 2, 2), (2, 0, 2))
    assert page.locator("#threshold-0").inner_text() == "0.180"
