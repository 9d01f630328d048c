import pytest
from scenarios import add_search, do_at_once

from paploss.client.notifications import SubscriptionRequest
from paploss.client.projects import DEFAULT_PROJECT
from paploss.controller.store.access import keys
from paploss.controller.store.database import Database
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.experiments import cancel_experiment
from paploss.controller.store.notifications.deliveries import list_deliveries
from paploss.controller.store.notifications.subscriptions import add_subscription
from paploss.controller.store.reading import lists


def test_a_key_is_found_until_it_is_revoked_and_stored_only_as_a_digest(database: Database) -> None:
    with database.write() as session:
        key = keys.create_key(session, "ann", "user")
    with database.read() as session:
        found = keys.find_key(session, key)
        assert found is not None
        assert (found.name, found.role) == ("ann", "user")
        assert key not in str(vars(found))
        assert keys.find_key(session, key + "x") is None
    for _ in range(2):
        with database.write() as session:
            keys.revoke_key(session, "ann")
    with database.read() as session:
        assert keys.find_key(session, key) is None
        assert [row.revoked_at is not None for row in lists.list_keys(session)] == [True]


def test_a_name_is_used_once(database: Database) -> None:
    with database.write() as session:
        keys.create_key(session, "ann", "user")
    with pytest.raises(ConflictError, match="ann"), database.write() as session:
        keys.create_key(session, "ann", "admin")


def test_a_key_is_for_a_project_that_there_is(database: Database) -> None:
    """Or whoever makes the project later would let somebody in whom they do not know of."""
    with pytest.raises(NotFoundError, match="no project 'lab'"), database.write() as session:
        keys.create_key(session, "ann", "user", "lab")
    with database.read() as session:
        assert lists.list_keys(session) == []


def test_a_name_is_used_once_also_by_requests_at_once(database: Database) -> None:
    made, refused = do_at_once(database, lambda session: keys.create_key(session, "ann", "user"))
    assert (len(made), len(refused)) == (1, 3)
    assert all("there is an API key named 'ann' already" in message for message in refused)


def test_a_revoked_keys_subscriptions_tell_nothing_more(database: Database) -> None:
    search = add_search(database)
    request = SubscriptionRequest(target="https://example.org/hook", occasions=("ended",))
    with database.write() as session:
        subscriptions = {}
        for name in ("ann", "bob"):
            keys.create_key(session, name, "user")
            subscriptions[name] = add_subscription(session, request, name, DEFAULT_PROJECT).id
        keys.revoke_key(session, "ann")
    with database.write() as session:
        cancel_experiment(session, search.id)
        told = {name: len(list_deliveries(session, subscription)) for name, subscription in subscriptions.items()}
    assert told == {"ann": 0, "bob": 1}


def test_controllers_that_start_at_once_install_the_operators_key_once(database: Database) -> None:
    installed, _ = do_at_once(database, lambda session: keys.install_key(session, "admin", "key-of-the-operator"))
    assert len(installed) == 4
    with database.read() as session:
        assert keys.find_key(session, "key-of-the-operator") is not None


def test_an_unknown_key_cannot_be_revoked(database: Database) -> None:
    with pytest.raises(NotFoundError, match="bob"), database.write() as session:
        keys.revoke_key(session, "bob")


def test_the_operators_key_replaces_the_one_installed_earlier(database: Database) -> None:
    first, second = "first-key-of-the-operator", "second-key-of-the-operator"
    for key in (first, first, second):
        with database.write() as session:
            keys.install_key(session, "admin", key)
    with database.read() as session:
        assert keys.find_key(session, first) is None
        found = keys.find_key(session, second)
        assert found is not None
        assert found.role == "admin"
