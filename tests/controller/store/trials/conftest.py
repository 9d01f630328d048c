from collections.abc import Iterator

import pytest
from servers import PostgresServer

from paploss.controller.store.database import Database


@pytest.fixture
def postgresql(postgres_server: PostgresServer, postgres_template: str) -> Iterator[Database]:
    """The one kind of database that takes many steps in one transaction."""
    opened = Database(postgres_server.create_database(postgres_template))
    yield opened
    opened.close()
    postgres_server.drop_database(opened.url.render_as_string())
