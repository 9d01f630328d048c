"""Who is remembered between two looks at the database."""

import asyncio

import pytest

from paploss.controller.api.security.callers import Callers
from paploss.controller.store.access.keys import create_key, revoke_key
from paploss.controller.store.database import Database


@pytest.mark.databases("sqlite")
def test_a_key_that_is_revoked_while_keys_are_read_is_not_let_in(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with database.write() as session:
        key = create_key(session, "lab", "viewer")
    callers = Callers(database)
    query = callers._query

    def revoke_behind_the_look() -> object:
        found = query()
        with database.write() as session:
            revoke_key(session, "lab")
        callers.forget()
        monkeypatch.undo()
        return found

    monkeypatch.setattr(callers, "_query", revoke_behind_the_look)
    assert asyncio.run(callers.find_by_key(key)) is None
