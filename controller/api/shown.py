"""Everything that shows an experiment, built once: what cannot be shown must not be stored."""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, get_args

from paploss.client.models import ExperimentFigure
from paploss.controller.api import views
from paploss.controller.api.pages import pages
from paploss.controller.api.problems import ProblemError
from paploss.controller.api.rest import experiments, figures
from paploss.controller.api.security.callers import Caller
from paploss.controller.api.services import Services
from paploss.controller.store import dumps
from paploss.controller.store.database import Database
from paploss.controller.store.errors import DumpError, StoreError
from paploss.controller.store.reading.overview import TrialFilter
from paploss.controller.store.tables import Attempt, Base, Evaluation, Event, LateResult, Round, Trial

_ROW_VIEWS: Mapping[type[Base], Callable[[Any], object]] = {
    Round: views.round_summary,
    Trial: views.trial_summary,
    Attempt: views.attempt_summary,
    Evaluation: views.evaluation_summary,
    LateResult: views.late_result_summary,
    Event: views.log_line,
}


def try_views(services: Services, caller: Caller, database: Database, experiment_id: str) -> None:
    """Build the lists, the page and the figures of an experiment that another database holds, and a view of each row.

    Raises:
        DumpError: one of them cannot be built.
    """
    there = replace(services, database=database)
    whole: list[Callable[[], object]] = [
        partial(experiments.list_all, there),
        partial(experiments.get, experiment_id, there),
        partial(experiments.best, experiment_id, there),
        partial(pages.show_experiment, experiment_id, there, caller, TrialFilter()),
        *(partial(figures.draw_search, experiment_id, name, there) for name in get_args(ExperimentFigure)),
    ]
    try:
        for build in whole:
            with suppress(ProblemError, StoreError):  # answered as such: nothing to draw, or no best loss yet
                build()
        with database.read() as session:
            for model, view in _ROW_VIEWS.items():
                for row in dumps.rows_of(session, model):
                    view(row)
    except Exception as error:  # whatever it is: the same would meet everybody who looks at the lists
        raise DumpError(f"it cannot be shown: {type(error).__name__}: {error}") from error
