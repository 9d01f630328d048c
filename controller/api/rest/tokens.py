"""Personal access tokens over HTTP: everybody makes, sees and revokes their own; administrators everybody's."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, status

from paploss.client.models import NewToken, Page, TokenRequest, TokenSummary
from paploss.controller.api import problems
from paploss.controller.api.problems import ProblemError
from paploss.controller.api.security.access import AuthorizedRoute, SignedIn
from paploss.controller.api.services import Injected
from paploss.controller.api.views import token_summary
from paploss.controller.store.access.tokens import create_token, list_tokens, revoke_token
from paploss.controller.store.database import read_clock
from paploss.controller.store.retention import DAY_SECONDS

router = APIRouter(route_class=AuthorizedRoute, prefix="/api/v1/tokens", tags=["tokens"])


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems.documented(409))
def create(request: TokenRequest, services: Injected, caller: SignedIn) -> NewToken:
    """Create a token of yours. It is shown in this reply alone."""
    with services.database.write() as session:
        row, token = create_token(session, caller.name, request.name, request.role, request.days * DAY_SECONDS)
        session.refresh(row)
        return NewToken(**token_summary(row, read_clock(session)).model_dump(), token=token)


@router.get("")
def list_all(
    services: Injected,
    caller: SignedIn,
    *,
    everyone: Annotated[bool, Query(description="those of everybody, for administrators")] = False,
) -> Page[TokenSummary]:
    """Your tokens by name, expired ones too, on one page."""
    if everyone and caller.role != "admin":
        raise ProblemError(403, f"everyone: expected an administrator; {caller.name!r} has the role {caller.role}")
    with services.database.read() as session:
        clock = read_clock(session)
        owned = list_tokens(session, None if everyone else caller.name)
        return Page(items=[token_summary(row, clock) for row in owned])


@router.delete("/{token_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems.documented(404))
def revoke(token_id: Annotated[str, Path(pattern=r"^[0-9a-z]{1,32}$")], services: Injected, caller: SignedIn) -> None:
    """Revoke a token: one of yours, or as an administrator anybody's. A token revokes only itself."""
    if caller.token_id not in {None, token_id}:
        raise ProblemError(403, f"token {caller.token_id} may revoke itself and no other; use an API key or the page")
    with services.database.write() as session:
        revoke_token(session, token_id, None if caller.role == "admin" else caller.name)
    services.callers.forget()
