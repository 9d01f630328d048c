"""Personal access tokens: what somebody gives to a program in place of a key, for a time and with a role of its own.

A token stands for its owner, with the lesser of its role and the owner's, until it expires, is revoked, or the owner's
key is. As of keys, only the SHA-256 of 256 random bits is stored.
"""

import secrets
from collections.abc import Sequence
from typing import get_args

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from paploss.client.states import Role, TokenRole
from paploss.controller.store.access.keys import KEY_PREFIX, digest_key
from paploss.controller.store.database import read_clock
from paploss.controller.store.errors import ConflictError, NotFoundError, RightsError
from paploss.controller.store.tables import AccessToken, ApiKey

TOKEN_PREFIX = f"{KEY_PREFIX}token_"
"""Told from a key by whoever finds one, a scanner of secrets for instance."""
MOST_OF_ONE = 50

RANKS: tuple[TokenRole, ...] = get_args(TokenRole)
"""Roles of people, each with the rights of those before it."""


def limit_role(role: TokenRole, owners_role: Role) -> TokenRole | None:
    """The lesser of a token's role and its owner's; None where the owner is no person."""
    return None if owners_role == "worker" else min(role, owners_role, key=RANKS.index)


def list_roles(owners_role: Role) -> list[TokenRole]:
    """The roles that an owner's tokens may have, the least first."""
    return [role for role in RANKS if limit_role(role, owners_role) == role]


def create_token(session: Session, owner: str, name: str, role: TokenRole, seconds: float) -> tuple[AccessToken, str]:
    """Create a token of a key's owner; returns its row and the token, which cannot be read again.

    Raises:
        RightsError: the role is more than the owner's.
        ConflictError: the owner has one of that name, or too many.
    """
    # Locked, or two requests at once would both find room for one more.
    key = session.scalars(select(ApiKey).where(ApiKey.name == owner).with_for_update()).one()
    if limit_role(role, key.role) != role:
        raise RightsError(f"role: expected at most {key.role}, which is the role of {owner!r}, got {role}")
    names = session.scalars(select(AccessToken.name).where(AccessToken.key_name == owner)).all()
    if name in names:
        raise ConflictError(f"{owner!r} has a token named {name!r} already; revoke it, or take another name")
    if len(names) >= MOST_OF_ONE:
        raise ConflictError(f"{owner!r} has {len(names)} tokens, expected at most {MOST_OF_ONE}; revoke one of them")
    clock = read_clock(session)
    token = TOKEN_PREFIX + secrets.token_urlsafe(32)
    row = AccessToken(
        id=secrets.token_hex(6),
        key_name=owner,
        name=name,
        role=role,
        digest=digest_key(token),
        created_at=clock,
        expires_at=clock + seconds,
    )
    session.add(row)
    session.flush()
    return row, token


def list_tokens(session: Session, owner: str | None = None) -> Sequence[AccessToken]:
    """The tokens of an owner, or of everybody, by owner and name, expired ones too."""
    chosen = select(AccessToken).order_by(AccessToken.key_name, AccessToken.name)
    return session.scalars(chosen if owner is None else chosen.where(AccessToken.key_name == owner)).all()


def revoke_token(session: Session, token_id: str, owner: str | None = None) -> None:
    """Delete a token; of an owner alone, where one is named.

    Raises:
        NotFoundError: there is none of this id, or it is somebody else's.
    """
    ended = delete(AccessToken).where(AccessToken.id == token_id).returning(AccessToken.id)
    if owner is not None:
        ended = ended.where(AccessToken.key_name == owner)
    if session.execute(ended).one_or_none() is None:
        raise NotFoundError(f"no token {token_id!r}" + (f" of {owner!r}" if owner else ""))
