"""The trials of an experiment as CSV."""

from collections.abc import Iterator

from paploss.client.csv_lines import csv_line
from paploss.client.models import TrialSummary
from paploss.controller.api.views import trial_summary
from paploss.controller.store.database import Database
from paploss.controller.store.documents import LOSS
from paploss.controller.store.reading import lists
from paploss.controller.store.tables import Trial
from paploss.jobs.documents import UnreadableError

ROWS_AT_ONCE = 500


def stream_csv(database: Database, experiment_id: str) -> Iterator[str]:
    """The table in parts, header first; columns are those of the JSON list, and what losses have beyond the published
    formula. Memory use is bounded.
    """
    yield csv_line([*TrialSummary.model_fields, "extensions"])
    cursor: str | None = None
    while True:
        with database.read() as session:
            page = lists.list_trials(session, experiment_id, cursor=cursor, limit=ROWS_AT_ONCE)
            rows = [_cells(trial) for trial in page.items]
        yield "".join(map(csv_line, rows))
        cursor = page.next_cursor
        if cursor is None:
            return


def _cells(trial: Trial) -> list[object]:
    values = trial_summary(trial).model_dump(mode="json") | {"tags": " ".join(trial.tags or ())}
    return [*values.values(), _extensions(trial)]


def _extensions(trial: Trial) -> str:
    """By head, "bbox_head.l1_weight=0.5 bbox_head.error_driven=True"; empty where there are none."""
    try:
        heads = LOSS.read(trial.loss).head_losses if trial.loss else {}
    except UnreadableError:  # of another version
        return ""
    found = [(head, *each) for head, loss in heads.items() for each in loss.extensions.items()]
    return " ".join(f"{head}.{name}={value}" for head, name, value in found)
