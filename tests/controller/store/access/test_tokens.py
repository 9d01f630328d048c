import pytest

from paploss.client.states import Role, TokenRole
from paploss.controller.store.access import keys, sign_ins, tokens
from paploss.controller.store.database import Database
from paploss.controller.store.errors import ConflictError, NotFoundError, RightsError
from paploss.controller.store.tables import AccessToken, ApiKey


def make_key(database: Database, name: str, role: Role) -> None:
    with database.write() as session:
        keys.create_key(session, name, role)


def make(database: Database, owner: str, role: TokenRole, name: str = "laptop", seconds: float = 60) -> str:
    with database.write() as session:
        return tokens.create_token(session, owner, name, role, seconds)[1]


def role_of(database: Database, token: str) -> str | None:
    with database.read() as session:
        found = [row for row in sign_ins.find_valid(session) if row.digest == keys.digest_key(token)]
    return found[0].role if found else None


def test_a_token_stands_for_its_owner_and_is_stored_only_as_a_digest(database: Database) -> None:
    make_key(database, "ann", "user")
    token = make(database, "ann", "viewer")
    with database.read() as session:
        [row] = tokens.list_tokens(session, "ann")
        assert token not in str(vars(row))
        [valid] = [each for each in sign_ins.find_valid(session) if each.token_id]
        assert (valid.name, valid.role, valid.purpose, valid.token_id) == ("ann", "viewer", "bearer", row.id)
        assert keys.find_key(session, token) is None, "a token would open a browser session that outlives it"


@pytest.mark.parametrize(("owner", "role"), [("viewer", "user"), ("user", "admin"), ("worker", "viewer")])
def test_nobody_makes_a_token_that_may_do_more_than_they(database: Database, owner: Role, role: TokenRole) -> None:
    make_key(database, "ann", owner)
    with pytest.raises(RightsError, match=f"expected at most {owner}"):
        make(database, "ann", role)


def test_a_token_loses_the_rights_that_its_owner_loses(database: Database) -> None:
    make_key(database, "ann", "admin")
    token = make(database, "ann", "admin")
    assert role_of(database, token) == "admin"
    with database.write() as session:
        session.get_one(ApiKey, "ann").role = "viewer"
    assert role_of(database, token) == "viewer"
    with database.write() as session:
        session.get_one(ApiKey, "ann").role = "worker"
    assert role_of(database, token) is None


def test_a_token_ends_by_time_by_revocation_and_with_its_key(database: Database) -> None:
    make_key(database, "ann", "user")
    make_key(database, "bob", "user")
    assert role_of(database, make(database, "ann", "user", "old", seconds=-1)) is None
    token = make(database, "ann", "user")
    with database.write() as session:
        [token_id] = [row.id for row in tokens.list_tokens(session, "ann") if row.name == "laptop"]
        with pytest.raises(NotFoundError):
            tokens.revoke_token(session, token_id, "bob")
    assert role_of(database, token) == "user"
    with database.write() as session:
        tokens.revoke_token(session, token_id, "ann")
        with pytest.raises(NotFoundError):
            tokens.revoke_token(session, token_id, "ann")
    assert role_of(database, token) is None
    with_its_key = make(database, "ann", "user")
    with database.write() as session:
        keys.revoke_key(session, "ann")
    assert role_of(database, with_its_key) is None


def test_an_installed_key_that_is_replaced_takes_its_tokens_along(database: Database) -> None:
    with database.write() as session:
        keys.install_key(session, "admin", "first-key-of-the-operator")
    token = make(database, "installed-admin", "admin")
    with database.write() as session:
        keys.install_key(session, "admin", "second-key-of-the-operator")
    assert role_of(database, token) is None


def test_a_name_is_used_once_by_an_owner_and_their_number_is_limited(database: Database) -> None:
    make_key(database, "ann", "user")
    make_key(database, "bob", "user")
    make(database, "ann", "user")
    make(database, "bob", "user")
    with pytest.raises(ConflictError, match="'laptop' already"):
        make(database, "ann", "user")
    with database.write() as session:
        for number in range(1, tokens.MOST_OF_ONE):
            token = {"id": f"{number}", "digest": f"{number}", "name": f"n{number}", "expires_at": 0.0}
            session.add(AccessToken(key_name="ann", role="user", **token))
    with pytest.raises(ConflictError, match="expected at most 50"):
        make(database, "ann", "user", "one-more")
