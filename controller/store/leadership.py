"""Leader election: one row with an epoch and an expiry, which every transaction of the leader checks and locks.

A row and not a database lock, because it works on SQLite and behind a connection pooler as well. While such a
transaction is open, nobody can take the row over, so two leaders' changes never interleave.
"""

import secrets
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import ColumnElement, or_, select, update
from sqlalchemy.orm import Session

from paploss.controller.store.database import Database, now
from paploss.controller.store.errors import LeadershipLostError
from paploss.controller.store.events import record
from paploss.controller.store.tables import Leader

_ROW = 1


@dataclass(frozen=True)
class Term:
    """One term of leadership; it expires unless it is renewed in time."""

    holder: str
    epoch: int
    acquired_at: float


def new_holder() -> str:
    """A name for a candidate; a restarted controller gets a new one."""
    return f"{socket.gethostname()}-{secrets.token_hex(4)}"


def acquire(session: Session, holder: str, lease_seconds: float) -> Term | None:
    """Renew this holder's term, or take over where the last one has expired; None if another process leads."""
    return _renew(session, holder, lease_seconds) or _take_over(session, holder, lease_seconds)


def prolong(session: Session, term: Term, lease_seconds: float) -> None:
    """Renew a term that has not expired.

    Raises:
        LeadershipLostError: as `check`.
    """
    if _renew(session, term.holder, lease_seconds) != term:
        raise _lost(term)


def resign(session: Session, term: Term) -> None:
    """End the term early, so that the next leader need not wait for its expiry."""
    session.execute(update(Leader).where(*_is(term)).values(expires_at=now()))


def check(session: Session, term: Term) -> None:
    """Make the transaction one of this term: nobody takes over before it ends.

    Raises:
        LeadershipLostError: the term has expired or another process leads.
    """
    held = session.scalar(select(Leader.epoch).where(*_is(term), Leader.expires_at > now()).with_for_update(read=True))
    if held is None:
        raise _lost(term)


@contextmanager
def drive(database: Database, term: Term) -> Iterator[Session]:
    """A session in one transaction that commits only under this term.

    Raises:
        LeadershipLostError: as `check`.
    """
    with database.write() as session:
        check(session, term)
        yield session


def find_leader(session: Session) -> Leader | None:
    """The current leader, or None."""
    return session.scalar(select(Leader).where(Leader.expires_at > now()))


def _renew(session: Session, holder: str, lease_seconds: float) -> Term | None:
    row = session.execute(
        update(Leader)
        .where(Leader.id == _ROW, Leader.holder == holder, Leader.expires_at > now())
        .values(expires_at=now() + lease_seconds)
        .returning(Leader.epoch, Leader.acquired_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    return None if row is None else Term(holder, row.epoch, row.acquired_at)


def _take_over(session: Session, holder: str, lease_seconds: float) -> Term | None:
    row = session.execute(
        update(Leader)
        # A term that ends later than any could was given by a clock that has been set back since: its leader, if it is
        # there, has renewed it by the new one.
        .where(Leader.id == _ROW, or_(Leader.expires_at <= now(), Leader.expires_at > now() + 2 * lease_seconds))
        .values(holder=holder, epoch=Leader.epoch + 1, acquired_at=now(), expires_at=now() + lease_seconds)
        .returning(Leader.epoch, Leader.acquired_at)
        .execution_options(synchronize_session=False)
    ).one_or_none()
    if row is None:
        return None
    record(session, "leader_changed", f"{holder} leads now (epoch {row.epoch})")
    return Term(holder, row.epoch, row.acquired_at)


def _lost(term: Term) -> LeadershipLostError:
    return LeadershipLostError(f"{term.holder} no longer leads (epoch {term.epoch})")


def _is(term: Term) -> tuple[ColumnElement[bool], ...]:
    return (Leader.id == _ROW, Leader.holder == term.holder, Leader.epoch == term.epoch)
