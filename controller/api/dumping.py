"""Dumping an experiment in a process of its own: one of a million trials takes minutes."""

import logging
import os
from contextlib import closing
from typing import IO

from paploss.controller.api import apart
from paploss.controller.api.apart import Answer
from paploss.controller.api.problems import NO_DATABASE, STATUSES
from paploss.controller.settings import Settings
from paploss.controller.store import dumps
from paploss.controller.store.database import UNAVAILABLE, Database
from paploss.controller.store.errors import NotFoundError

logger = logging.getLogger(__name__)


def dump(settings: Settings, experiment_id: str, file: IO[bytes]) -> None:
    """Write an experiment to a file, whole. To be called in a thread. Raises as `apart.run`."""
    apart.run(__name__, settings, file, experiment_id)


def main() -> None:
    """The process: `python -m paploss.controller.api.dumping SERVER_PID FILE_DESCRIPTOR EXPERIMENT_ID`."""
    task = apart.begin()
    with os.fdopen(task.file_descriptor, "wb") as file:
        answer = answer_of(task.settings, file, *task.arguments)
    apart.end(answer)


def answer_of(settings: Settings, file: IO[bytes], experiment_id: str) -> Answer:
    """Write an experiment to a file, in this process."""
    with closing(Database(settings.resolved_database_url)) as database:
        try:
            dumps.dump(database, experiment_id, file)
        except NotFoundError as error:
            return Answer(status=STATUSES[NotFoundError], detail=str(error))
        except UNAVAILABLE as error:
            logger.error("dumping %s: %s", experiment_id, error)
            return Answer(status=503, detail=NO_DATABASE)
    return Answer()


if __name__ == "__main__":
    main()
