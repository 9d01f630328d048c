"""Requests that schemathesis makes up for an OpenAPI document.

Apart from its test: importing it takes seconds, in each process of the default suite too.
"""

from collections.abc import Mapping
from typing import Any

import requests
import schemathesis
from extremes import TEXTS, bounded, spoilt, write
from hypothesis import given
from hypothesis import strategies as st
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
PATIENCE_SECONDS = 120
SENDABLE = [text[:20_000] for text in TEXTS if text != "\ud800"]
"""What an address can hold."""
BOUNDED = bounded(8)


@schemathesis.serializer("application/gzip")
def send_as_it_is(_context: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()


def send(case: schemathesis.Case, url: str, headers: dict[str, str], body: str) -> requests.Response:
    """A case with another body: with infinities and lone surrogates, which its own way of writing refuses."""
    content = body.encode("utf-8", "surrogatepass")
    headers = headers | {"Content-Type": "application/json"}
    address = url + case.formatted_path
    return requests.request(
        case.method, address, params=case.query, data=content, headers=headers, timeout=PATIENCE_SECONDS
    )


def fuzz(
    document: dict[str, Any], url: str, headers: dict[str, str], known: Mapping[str, str]
) -> tuple[list[str], set[int]]:
    """Ask every operation; returns what was wrong, and every status that was seen.

    `known`: values of path parameters that are there, by name.
    """
    schema = schemathesis.openapi.from_dict(document)
    faults, seen = [], set[int]()
    for result in schema.get_all_operations():
        operation = result.ok()
        cases = st.one_of(
            operation.as_strategy(generation_mode=GenerationMode.POSITIVE),
            operation.as_strategy(generation_mode=GenerationMode.NEGATIVE),
        )

        @BOUNDED
        @given(case=cases, is_known=st.booleans(), is_extreme=st.booleans(), data=st.data())
        def ask(case: schemathesis.Case, is_known: bool, is_extreme: bool, data: st.DataObject) -> None:
            for name in known.keys() & (case.path_parameters or {}).keys():
                if is_known and case.method != "DELETE":
                    case.path_parameters[name] = known[name]
            if is_extreme and isinstance(case.query, dict) and case.query:
                case.query |= {data.draw(st.sampled_from(sorted(case.query))): data.draw(st.sampled_from(SENDABLE))}
            if is_extreme and isinstance(case.body, dict) and case.body:
                reply = send(case, url, headers, write(data.draw(spoilt(case.body))))
            else:
                reply = case.call(base_url=url, headers=headers, timeout=PATIENCE_SECONDS)
            seen.add(reply.status_code)
            assert reply.status_code < 500 or case.path == "/readyz", reply.text
            case.validate_response(reply, checks=CHECKS)

        try:
            ask()
        except (AssertionError, FailureGroup) as fault:
            faults.append(f"{operation.label}: {fault}")
    return faults, seen
