"""Idempotency-Key: a client that lost the reply to a POST repeats it with the same key and gets the original answer."""

import hashlib
from typing import Annotated

from fastapi import Header
from pydantic import BaseModel

from paploss.controller.store.experiments import Idempotency

IdempotencyHeader = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x21-\x7e]{1,200}$",
        description="any printable text of the client's own, unique for each intended creation; a UUID does",
    ),
]


def identify_request(key: str | None, request: BaseModel) -> Idempotency | None:
    """The key with a digest of the request, so that a key that is reused for another request is refused."""
    if key is None:
        return None
    digest = hashlib.sha256(request.model_dump_json().encode()).hexdigest()
    return Idempotency(key, digest)
