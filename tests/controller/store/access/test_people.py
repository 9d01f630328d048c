import pytest
from scenarios import do_at_once
from sqlalchemy.orm import Session

from paploss.client.notifications import SubscriptionRequest
from paploss.client.projects import ProjectRequest
from paploss.controller.store.access.people import admit_person, identify_person, refuse_person
from paploss.controller.store.database import Database
from paploss.controller.store.notifications.subscriptions import add_subscription, list_subscriptions
from paploss.controller.store.projects import create_project

SUBJECT = identify_person("https://id.example.org", "1234")


def admit(session: Session, project: str | None = "birds") -> str:
    return admit_person(session, SUBJECT, "ann@example.org", "user", project).name


@pytest.fixture
def subscribed(database: Database) -> Database:
    """Ann, who is in the project `birds`, is told of it."""
    request = SubscriptionRequest(target="https://example.org/hook")
    with database.write() as session:
        for project in ("birds", "cells"):
            create_project(session, ProjectRequest(name=project))
        add_subscription(session, request, admit(session), "birds")
    return database


def is_told(database: Database) -> bool:
    with database.read() as session:
        return [each.paused_at for each in list_subscriptions(session)] == [None]


def test_a_person_who_signs_in_twice_at_once_is_one(database: Database) -> None:
    names, _ = do_at_once(database, lambda session: admit(session, "default"))
    assert names == ["ann@example.org"] * 4


def test_two_people_of_one_name_are_told_apart(database: Database) -> None:
    with database.write() as session:
        admit_person(session, identify_person("https://id.example.org", "1"), "ann@example.org", "user")
        assert admit(session, "default") == f"ann@example.org-{SUBJECT[:12]}"


def test_who_may_not_sign_in_any_more_is_told_nothing_more(subscribed: Database) -> None:
    with subscribed.write() as session:
        refuse_person(session, SUBJECT)
    assert not is_told(subscribed)


@pytest.mark.parametrize(("project", "told"), [("birds", True), ("cells", False), (None, True)])
def test_who_moves_to_another_project_is_told_nothing_more_of_the_old_one(
    subscribed: Database, project: str | None, told: bool
) -> None:
    with subscribed.write() as session:
        admit(session, project)
    assert is_told(subscribed) == told
