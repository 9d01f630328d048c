"""People whom an identity provider vouches for. Each has a row among the keys, with a key that nobody has been given:
so sessions, tokens, ownership and revocation are those of keys.

Whoever the provider names may come in; to lock somebody out for good, do it there. Revoking here ends what is open.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from typing import cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from paploss.client.projects import DEFAULT_PROJECT
from paploss.client.states import TokenRole
from paploss.controller.store.access.keys import digest_key, end_access, limit_project, revoke_key
from paploss.controller.store.access.tokens import RANKS
from paploss.controller.store.database import insert_absent
from paploss.controller.store.notifications.subscriptions import pause_all_of
from paploss.controller.store.projects import hold_project
from paploss.controller.store.tables import ApiKey

MOST_OF_A_NAME = 80
_UNUSUAL = re.compile(r"[^A-Za-z0-9@._+-]")


def admit_person(
    session: Session, subject: str, name: str, role: TokenRole, project: str | None = DEFAULT_PROJECT
) -> ApiKey:
    """The row of a person who signs in, made the first time, with the role and the project that they have now.

    `subject`: by `identify_person`; it is who they are. `name`: with an @, which names of keys cannot have; it is kept
    as it was the first time, because experiments are owned by it, and made unique.

    Raises:
        NotFoundError: there is no such project.
    """
    project = limit_project(role, project)
    if project is not None:
        hold_project(session, project)
    row = session.scalar(select(ApiKey).where(ApiKey.subject == subject))
    if row is None:
        name = _UNUSUAL.sub("-", name)[:MOST_OF_A_NAME]
        made = {"role": role, "digest": digest_key(secrets.token_urlsafe(32)), "subject": subject}
        # The first name that is free; neither where they sign in twice at once, and the other was faster.
        for free in (name, f"{name}-{subject[:12]}"):
            if insert_absent(session, ApiKey, made | {"name": free}):
                break
        row = session.scalars(select(ApiKey).where(ApiKey.subject == subject)).one()
    elif row.revoked_at is not None:  # what was opened before stays closed
        end_access(session, row.name)
        row.revoked_at = None
    elif project not in (None, row.project):  # whoever is in one project is told of no other
        pause_all_of(session, row.name)
    row.role = role
    row.project = project
    session.flush()
    return row


PersonsGrant = tuple[TokenRole, str | None]
"""A role, and the project that it is in; None: all."""


def split_grant(grant: str) -> PersonsGrant:
    """What a group gives, as the setting `oidc_roles` writes it: `role`, `project:role` or `*:role`."""
    project, _, role = grant.rpartition(":")
    return cast("TokenRole", role), None if project == "*" else project or DEFAULT_PROJECT


def highest_grant(grants: Sequence[PersonsGrant]) -> PersonsGrant | None:
    """The one whose role has the most rights, the first of several; None of none."""
    return max(grants, key=lambda grant: RANKS.index(grant[0]), default=None)


def refuse_person(session: Session, subject: str) -> None:
    """End what somebody has open who may not sign in any more; nothing happens where they never did."""
    row = session.scalar(select(ApiKey).where(ApiKey.subject == subject))
    if row is not None:
        revoke_key(session, row.name)
        end_access(session, row.name)


def identify_person(issuer: str, subject: str) -> str:
    """What a person is known by: a provider's names may change hands, its subjects do not. 64 characters."""
    return hashlib.sha256(f"{len(issuer)} {issuer} {subject}".encode()).hexdigest()
