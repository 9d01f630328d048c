from scenarios import do_at_once

from paploss.client.projects import ProjectRequest
from paploss.controller.store.database import Database
from paploss.controller.store.projects import create_project, list_names


def test_a_project_is_made_once_also_by_requests_at_once(database: Database) -> None:
    made, refused = do_at_once(database, lambda session: create_project(session, ProjectRequest(name="lab")).name)
    assert made == ["lab"]
    assert refused == ["there is a project 'lab' already"] * 3
    with database.read() as session:
        assert list_names(session) == ["default", "lab"]
