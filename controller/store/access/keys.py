"""API keys: made once, shown once, stored as a digest. A key is 256 random bits, so one SHA-256 is enough."""

import hashlib
import secrets

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from paploss.client.projects import DEFAULT_PROJECT
from paploss.client.states import Role
from paploss.controller.store.database import insert_absent, read_clock
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.notifications.subscriptions import pause_all_of
from paploss.controller.store.projects import hold_project
from paploss.controller.store.tables import AccessToken, ApiKey, SignIn

KEY_PREFIX = "paploss_"


def limit_project(role: Role, project: str | None) -> str | None:
    """The project that a key of this role is for: administrators and workers are for all, which is None."""
    return project if role in ("viewer", "user") else None


def create_key(session: Session, name: str, role: Role, project: str | None = DEFAULT_PROJECT) -> str:
    """Create a key and return it; it cannot be read again. `project`: as of `limit_project`.

    Raises:
        NotFoundError: no such project.
        ConflictError: the name is taken (also by a revoked key, so that the audit trail stays clear).
    """
    key = KEY_PREFIX + secrets.token_urlsafe(32)
    project = limit_project(role, project)
    if project is not None:
        hold_project(session, project)
    row = {"name": name, "role": role, "digest": digest_key(key), "project": project}
    if not insert_absent(session, ApiKey, row):
        raise ConflictError(f"there is an API key named {name!r} already")
    return key


def install_key(session: Session, role: Role, key: str) -> None:
    """Install the operator's own key of a role, for all projects; an earlier one is revoked, with its browser sessions
    and tokens."""
    name, digest = f"installed-{role}", digest_key(key)
    insert_absent(session, ApiKey, {"name": name, "role": role, "digest": digest, "project": None})
    row = session.get_one(ApiKey, name)
    if row.digest != digest:
        row.digest, row.revoked_at = digest, None
        end_access(session, name)


def find_key(session: Session, key: str) -> ApiKey | None:
    """The stored row of a presented key, or None if it is unknown or revoked."""
    return session.scalar(select(ApiKey).where(ApiKey.digest == digest_key(key), ApiKey.revoked_at.is_(None)))


def revoke_key(session: Session, name: str) -> None:
    """Revoke a key, and pause what it has subscribed to. Idempotent.

    Raises:
        NotFoundError: no key of this name.
    """
    row = session.get(ApiKey, name)
    if row is None:
        raise NotFoundError(f"no API key named {name!r}")
    row.revoked_at = row.revoked_at or read_clock(session)
    pause_all_of(session, name)


def end_access(session: Session, name: str) -> None:
    """End the browser sessions and the tokens of a key."""
    for opened in (SignIn, AccessToken):
        session.execute(delete(opened).where(opened.key_name == name))


def digest_key(key: str) -> str:
    """SHA-256 of a key, hexadecimal."""
    return hashlib.sha256(key.encode()).hexdigest()
