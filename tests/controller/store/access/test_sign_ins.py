import pytest
from sqlalchemy import func, select

from paploss.controller.store.access import sign_ins
from paploss.controller.store.access.keys import create_key, digest_key
from paploss.controller.store.database import Database
from paploss.controller.store.tables import SignIn


def test_a_key_has_so_many_sessions_and_the_oldest_make_room(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of them are read every two seconds: a program that signs in each time must not make ever more."""
    monkeypatch.setattr(sign_ins, "MOST_SESSIONS", 3)
    with database.write() as session:
        create_key(session, "ann", "viewer")
        create_key(session, "bob", "viewer")
        bobs = sign_ins.create_session(session, "bob", 60)
        code = sign_ins.create_code(session, "ann")
        anns = [sign_ins.create_session(session, "ann", 60 + age) for age in range(5)]
    with database.read() as session:
        found = {secret.digest for secret in sign_ins.find_valid(session) if secret.purpose == "session"}
        assert found == {digest_key(secret) for secret in (bobs, *anns[2:])}
        assert session.scalar(select(func.count()).select_from(SignIn)) == 5
    with database.write() as session:
        assert sign_ins.use_code(session, code) is not None


def test_a_session_opens_nothing_after_its_time(database: Database) -> None:
    with database.write() as session:
        create_key(session, "ann", "viewer")
        lasts, over = (sign_ins.create_session(session, "ann", seconds) for seconds in (60, -1))
    with database.read() as session:
        assert session.get(SignIn, digest_key(over)) is not None  # until the next one signs in
        found = {secret.digest for secret in sign_ins.find_valid(session) if secret.purpose == "session"}
    assert found == {digest_key(lasts)}
