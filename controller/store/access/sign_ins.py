"""Signing in to the page: browser sessions, and one-time codes that open one. Both end when their key is revoked.

The secrets are 256 random bits and only their SHA-256 is stored, so reading the table gives no access.
"""

import secrets
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from paploss.client.states import Role
from paploss.controller.store.access.keys import digest_key, limit_project
from paploss.controller.store.access.tokens import limit_role
from paploss.controller.store.database import now, read_clock
from paploss.controller.store.tables import AccessToken, ApiKey, SignIn

CODE_SECONDS = 600.0
MOST_SESSIONS = 1000
"""Of one key, which many people may share. Every replica reads all sessions every two seconds."""

Purpose = Literal["bearer", "session"]
"""What a valid secret is sent as: a key or a token of a program, or the cookie of a browser."""


@dataclass(frozen=True)
class ValidSecret:
    """The digest of a valid secret, and the key whose rights it grants."""

    purpose: Purpose
    digest: str
    name: str
    role: Role
    project: str | None
    """None: all."""
    token_id: str | None = None
    """Of a personal access token."""


def create_session(session: Session, key_name: str, seconds: float) -> str:
    """Open a browser session with the rights of a key; returns its secret, for the cookie.

    Of MOST_SESSIONS that which ends first makes room.
    """
    of_key = (SignIn.key_name == key_name, SignIn.purpose == "session")
    surplus = select(SignIn.digest).where(*of_key).order_by(SignIn.expires_at.desc()).offset(MOST_SESSIONS - 1)
    session.execute(delete(SignIn).where(SignIn.digest.in_(surplus)))
    return _create(session, key_name, "session", seconds)


def create_code(session: Session, key_name: str, seconds: float = CODE_SECONDS) -> str:
    """Create a one-time code that opens one session with the rights of a key."""
    return _create(session, key_name, "code", seconds)


def find_valid(session: Session) -> list[ValidSecret]:
    """Every key that is not revoked, and every token and browser session of one that has not expired."""
    key = (ApiKey.name, ApiKey.role, ApiKey.project)
    keys = session.execute(select(ApiKey.digest, *key).where(ApiKey.revoked_at.is_(None)))
    sessions = session.execute(
        select(SignIn.digest, *key)
        .join(ApiKey, SignIn.key_name == ApiKey.name)
        .where(SignIn.purpose == "session", SignIn.expires_at > now(), ApiKey.revoked_at.is_(None))
    )
    tokens = session.execute(
        select(AccessToken, ApiKey.role, ApiKey.project)
        .join(ApiKey, AccessToken.key_name == ApiKey.name)
        .where(AccessToken.expires_at > now(), ApiKey.revoked_at.is_(None))
    )
    found = [_valid("bearer", *row) for row in keys] + [_valid("session", *row) for row in sessions]
    for token, owners_role, project in tokens:
        role = limit_role(token.role, owners_role)
        if role is not None:  # of its owner's project, whatever its own role
            its = limit_project(owners_role, project)
            found.append(ValidSecret("bearer", token.digest, token.key_name, role, its, token.id))
    return found


def _valid(purpose: Purpose, digest: str, name: str, role: Role, project: str | None) -> ValidSecret:
    return ValidSecret(purpose, digest, name, role, limit_project(role, project))


def use_code(session: Session, code: str) -> ApiKey | None:
    """Consume a code and return its key; None if the code was used, has expired, or its key is revoked."""
    key = session.scalar(
        select(ApiKey)
        .join(SignIn, SignIn.key_name == ApiKey.name)
        .where(
            SignIn.digest == digest_key(code),
            SignIn.purpose == "code",
            SignIn.expires_at > now(),
            ApiKey.revoked_at.is_(None),
        )
    )
    used = session.execute(
        delete(SignIn).where(SignIn.digest == digest_key(code), SignIn.purpose == "code").returning(SignIn.digest)
    )
    # Of two requests with the same code at once, only one deletes the row.
    return key if used.one_or_none() is not None else None


def end_session(session: Session, secret: str) -> None:
    """Sign a browser out. Idempotent."""
    session.execute(delete(SignIn).where(SignIn.digest == digest_key(secret)))


def _create(session: Session, key_name: str, purpose: Literal["session", "code"], seconds: float) -> str:
    session.execute(delete(SignIn).where(SignIn.expires_at < now()))
    secret = secrets.token_urlsafe(32)
    expires_at = read_clock(session) + seconds
    session.add(SignIn(digest=digest_key(secret), key_name=key_name, purpose=purpose, expires_at=expires_at))
    session.flush()
    return secret
