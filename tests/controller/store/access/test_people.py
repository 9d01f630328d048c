from scenarios import do_at_once

from paploss.controller.store.access.people import admit_person, identify_person
from paploss.controller.store.database import Database

SUBJECT = identify_person("https://id.example.org", "1234")


def test_a_person_who_signs_in_twice_at_once_is_one(database: Database) -> None:
    names, _ = do_at_once(database, lambda session: admit_person(session, SUBJECT, "ann@example.org", "user").name)
    assert names == ["ann@example.org"] * 4


def test_two_people_of_one_name_are_told_apart(database: Database) -> None:
    with database.write() as session:
        admit_person(session, identify_person("https://id.example.org", "1"), "ann@example.org", "user")
        assert admit_person(session, SUBJECT, "ann@example.org", "user").name == f"ann@example.org-{SUBJECT[:12]}"
