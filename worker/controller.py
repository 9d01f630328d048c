"""The controller as a worker sees it: the lease protocol over HTTP.

Every call ends in one of three ways. A model: the controller's answer. `RefusedError`: it has answered, definitely, and
will not change its mind. `UnavailableError`: nothing is known, neither that the request arrived nor that it did not;
every request may be repeated, which the protocol makes harmless.
"""

from http import HTTPStatus
from typing import Self, TypeVar

import httpx
from pydantic import SecretStr, ValidationError

from paploss.jobs.lease import (
    Accepted,
    ClaimRequest,
    FilesReply,
    FilesRequest,
    Lease,
    ReleaseRequest,
    RenewReply,
    RenewRequest,
    ResultRequest,
)
from paploss.jobs.spec import Message

_TIMEOUT = httpx.Timeout(10, connect=3)
_HURRIED_TIMEOUT = httpx.Timeout(2)
_TRANSIENT = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
_PROBLEM = "application/problem+json"

Reply = TypeVar("Reply", bound=Message)


class RefusedError(Exception):
    """A definite no; `status` is the HTTP status."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail

    @property
    def lease_lost(self) -> bool:
        """Whether the lease is no longer this worker's, or its trial no longer there: what ends a training.

        Any other refusal is of the request itself, by a controller of another version or with other limits.
        """
        return self.status in (HTTPStatus.CONFLICT, HTTPStatus.GONE, HTTPStatus.NOT_FOUND)


class UnavailableError(Exception):
    """No definite answer."""


class MismatchError(UnavailableError):
    """The controller does not take this worker's key, or speaks another version. Reason to start nothing new, and no
    reason to end a training: keys are exchanged and controllers upgraded while trainings run."""


class Controller:
    """Client of the lease endpoints. Safe to use from several threads."""

    def __init__(self, url: str, key: SecretStr) -> None:
        self._http = httpx.Client(
            base_url=f"{url.rstrip('/')}/api/v1/leases",
            headers={"Authorization": f"Bearer {key.get_secret_value()}"},
        )
        self._timeout = _TIMEOUT

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def hurry(self) -> None:
        """Wait for no answer for long any more: this worker is to end."""
        self._timeout = _HURRIED_TIMEOUT

    def claim(self, request: ClaimRequest) -> Lease:
        """Claim a trial; a refusal says that it is not to be had."""
        try:
            return self._post("claim", request, Lease)
        except RefusedError as error:
            if error.status == HTTPStatus.UNPROCESSABLE_ENTITY:  # it would be refused for every trial, again and again
                raise MismatchError(f"claim: a controller of another version: {error}") from error
            raise

    def renew(self, request: RenewRequest) -> RenewReply:
        """Keep a lease and hear what to do."""
        return self._post("renew", request, RenewReply)

    def report(self, request: ResultRequest) -> Accepted:
        """Deliver a result."""
        return self._post("result", request, Accepted)

    def release(self, request: ReleaseRequest) -> Accepted:
        """Hand a lease back."""
        return self._post("release", request, Accepted)

    def find_unneeded_files(self, request: FilesRequest) -> FilesReply:
        """Ask which trials' files may be removed."""
        return self._post("files", request, FilesReply)

    def _post(self, path: str, request: Message, reply: type[Reply]) -> Reply:
        try:
            response = self._http.post(
                path,
                content=request.model_dump_json(),
                headers={"Content-Type": "application/json"},
                timeout=self._timeout,
            )
        except httpx.TransportError as error:
            raise UnavailableError(f"{path}: {error or type(error).__name__}") from error
        if response.is_success:
            try:
                return reply.model_validate_json(response.content)
            except ValidationError as error:
                raise MismatchError(f"{path}: an answer of another version: {error}") from error
        if response.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise MismatchError(f"{path}: {response.status_code}: {_detail(response)}")
        # A proxy in between answers 404 and the like too, for a controller that is just restarting: only the
        # controller's own problem documents are definite. What is too large for a proxy stays so.
        own = response.headers.get("Content-Type", "").startswith(_PROBLEM)
        too_large = response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if too_large or (own and response.is_client_error and response.status_code not in _TRANSIENT):
            raise RefusedError(response.status_code, _detail(response))
        raise UnavailableError(f"{path}: {response.status_code}: {_detail(response)}")


def _detail(response: httpx.Response) -> str:
    try:
        return str(response.json()["detail"])
    except (ValueError, KeyError, TypeError):
        return response.reason_phrase
