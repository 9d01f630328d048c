"""The trials of a search as CSV."""

from collections.abc import Iterator

from paploss.client.csv_lines import csv_line
from paploss.client.models import TrialSummary
from paploss.controller.api.views import trial_summary
from paploss.controller.store.database import Database
from paploss.controller.store.reading import lists

ROWS_AT_ONCE = 500


def stream_csv(database: Database, experiment_id: str) -> Iterator[str]:
    """The table in parts, header first; columns are those of the JSON list. Memory use is bounded."""
    yield csv_line(list(TrialSummary.model_fields))
    cursor: str | None = None
    while True:
        with database.read() as session:
            page = lists.list_trials(session, experiment_id, cursor=cursor, limit=ROWS_AT_ONCE)
            rows = [trial_summary(trial).model_dump(mode="json") for trial in page.items]
        yield "".join(csv_line(list(row.values())) for row in rows)
        cursor = page.next_cursor
        if cursor is None:
            return
