"""The controller as a worker sees it: the lease protocol over HTTP.

Every call ends in one of three ways. A model: the controller's answer. `RefusedError`: it has answered, definitely, and
will not change its mind. `UnavailableError`: nothing is known, neither that the request arrived nor that it did not;
every request may be repeated, which the protocol makes harmless.
"""

from http import HTTPStatus
from typing import Self, TypeVar

import httpx
from pydantic import SecretStr, ValidationError

from paploss.client.transport import Route, read_problem
from paploss.jobs.documents import describe
from paploss.jobs.lease import (
    PROTOCOL,
    PROTOCOL_HEADER,
    Accepted,
    ClaimRequest,
    FilesReply,
    FilesRequest,
    Granted,
    Lease,
    ReleaseRequest,
    RenewReply,
    RenewRequest,
    ResultRequest,
    encode,
    read_protocol,
)
from paploss.jobs.messages import Message

_TIMEOUT = httpx.Timeout(10, connect=3)
_HURRIED_TIMEOUT = httpx.Timeout(2)
_TRANSIENT = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})

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


class UnreadableLeaseError(UnavailableError):
    """A trial was granted, and this worker cannot read how to train it. `granted` is what it needs to release it."""

    def __init__(self, detail: str, granted: Granted | None) -> None:
        super().__init__(detail)
        self.granted = granted


class Controller:
    """Client of the lease endpoints. Safe to use from several threads."""

    def __init__(self, url: str, key: SecretStr) -> None:
        """Raises UnreachableError where the address or its proxy cannot be used."""
        self._route = Route(url)
        self._http = httpx.Client(**self._route.options("/api/v1/leases", key.get_secret_value()))
        self._timeout = _TIMEOUT
        self._protocol = 1  # until the controller names another

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def hurry(self) -> None:
        """Wait for no answer for long any more: this worker is to end."""
        self._timeout = _HURRIED_TIMEOUT

    def claim(self, request: ClaimRequest) -> Lease:
        """Claim a trial; a refusal says that it is not to be had. Raises UnreadableLeaseError too."""
        try:
            return self._read_lease(self._send("claim", request))
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
        """Give a lease up."""
        return self._post("release", request, Accepted)

    def find_removable_files(self, request: FilesRequest) -> FilesReply:
        """Ask which trials' files may be removed."""
        return self._post("files", request, FilesReply)

    def _read_lease(self, answer: bytes) -> Lease:
        try:
            return Lease.model_validate_json(answer, extra="ignore")
        except ValidationError as error:
            try:
                granted = Granted.model_validate_json(answer, extra="ignore")
            except ValidationError:
                granted = None
            raise UnreadableLeaseError(f"claim: a lease that cannot be read: {describe(error)}", granted) from error

    def _post(self, path: str, request: Message, reply: type[Reply]) -> Reply:
        answer = self._send(path, request)
        try:
            return reply.model_validate_json(answer, extra="ignore")  # of a newer controller, perhaps
        except ValidationError as error:
            raise MismatchError(f"{path}: an answer of another version: {error}") from error

    def _send(self, path: str, request: Message) -> bytes:
        try:
            response = self._http.post(
                path,
                content=encode(request, self._protocol),
                headers={"Content-Type": "application/json", PROTOCOL_HEADER: str(PROTOCOL)},
                timeout=self._timeout,
            )
        except httpx.RequestError as error:  # of the transport, or of an encoding that a proxy has corrupted
            raise UnavailableError(f"{path}: {self._route.explain(error)}") from error
        if response.is_success:
            self._protocol = read_protocol(response.headers)
            return response.content
        problem = read_problem(response)
        detail = str((problem or {}).get("detail") or f"{response.reason_phrase}{self._route.by_proxy}")
        if response.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
            raise MismatchError(f"{path}: {response.status_code}: {detail}")
        # A proxy in between answers 404 and the like too, for a controller that is just restarting: only the
        # controller's own problem documents are definite. What is too large for a proxy stays so.
        too_large = response.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        if too_large or (problem is not None and response.is_client_error and response.status_code not in _TRANSIENT):
            raise RefusedError(response.status_code, detail)
        raise UnavailableError(f"{path}: {response.status_code}: {detail}")
