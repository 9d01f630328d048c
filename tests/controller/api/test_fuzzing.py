"""The whole OpenAPI document, fuzzed: whatever is asked, by whomever, no defect and no status that is not documented.

Bounded and derandomised: the same requests on every run. No trial is proposed meanwhile, because nobody leads.
"""

from typing import Any

import pytest
import requests
import schemathesis
from controllers import RunningController
from extremes import TEXTS, spoilt, write
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scenarios import search_spec, training_spec
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

pytestmark = pytest.mark.slow

CHECKS = [status_code_conformance, content_type_conformance, response_schema_conformance]
ALMOST_NO_LIMIT = {f"{who}_per_second": 1e6 for who in ("requests", "worker_requests", "anonymous_requests")}
PATIENCE_SECONDS = 120
SENDABLE = [text[:20_000] for text in TEXTS if text != "\ud800"]
"""What an address can hold."""
BOUNDED = settings(
    max_examples=8,
    derandomize=True,
    database=None,
    deadline=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)


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


@pytest.fixture(scope="module", params=["postgresql", "sqlite"])
def fuzzed(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, redis_server: Any) -> Any:
    folder = tmp_path_factory.mktemp("fuzzed")
    if request.param == "sqlite":
        url = f"sqlite:///{folder / 'test.db'}"
    else:  # which refuses numbers and characters that SQLite takes
        url = request.getfixturevalue("postgres_server").create_database()
    running = RunningController(url, redis_server.url, folder, **ALMOST_NO_LIMIT)
    running.services.driver.stop()
    with running:
        yield running


@pytest.fixture(scope="module")
def known(fuzzed: RunningController) -> dict[str, str]:
    """Ids that are there: of a search and a trial that have ended, so that live events end too."""
    with fuzzed.client() as client:
        training = client.create(training_spec(learning_rates=[]))
        client.cancel(training.id)
        search = client.create(search_spec())
        client.cancel(search.id)
    return {"experiment_id": search.id, "trial_id": f"{training.id}-000000", "name": "rewards"}


@pytest.mark.parametrize("caller", ["admin", "worker", None])
def test_no_request_meets_a_defect_or_an_undocumented_status(
    fuzzed: RunningController, known: dict[str, str], caller: Any
) -> None:
    schema = schemathesis.openapi.from_dict(fuzzed.app.openapi())
    headers = {} if caller is None else {"Authorization": f"Bearer {fuzzed.keys[caller]}"}
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
                reply = send(case, fuzzed.url, headers, write(data.draw(spoilt(case.body))))
            else:
                reply = case.call(base_url=fuzzed.url, headers=headers, timeout=PATIENCE_SECONDS)
            seen.add(reply.status_code)
            assert reply.status_code < 500 or case.path == "/readyz", reply.text
            case.validate_response(reply, checks=CHECKS)

        try:
            ask()
        except (AssertionError, FailureGroup) as fault:
            faults.append(f"{operation.label}: {fault}")
    assert not faults, "\n\n".join(faults)
    assert seen >= {"admin": {200, 201, 404, 422}, "worker": {403, 404, 422}, None: {200, 401}}[caller]
