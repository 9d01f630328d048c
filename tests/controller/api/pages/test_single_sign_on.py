"""Signing in with a real OpenID Connect provider on the loopback, and every answer that must open nothing."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from controllers import RunningController, session_name
from identity_provider import CLIENT_ID, CLIENT_SECRET, KEY, IdentityProvider, sign
from joserfc import jwt
from joserfc.jwk import OctKey, RSAKey
from joserfc.jws import JWSRegistry
from servers import RedisServer

from paploss.client.projects import ProjectRequest
from paploss.client.sync_client import Client
from paploss.controller.api.pages.single_sign_on import COOKIE
from paploss.controller.api.security.access import SESSION_COOKIE
from paploss.controller.api.security.single_sign_on import MOST_AT_ONCE, SignOnError, SingleSignOn
from paploss.controller.api.server import bind
from paploss.controller.settings import Settings

ROLES = {"detection": "user", "guests": "viewer", "ml-admins": "admin"}
PROJECTS = {"birds": "bird-lab:user", "fish": "fish-lab:user", "auditors": "*:viewer", "lost": "no-lab:user"}


@pytest.fixture(scope="module")
def running_provider() -> Iterator[IdentityProvider]:
    with IdentityProvider() as running:
        yield running


@pytest.fixture
def provider(running_provider: IdentityProvider) -> IdentityProvider:
    """A provider that does everything right, and vouches for a person whom it never has before."""
    running_provider.behave()
    return running_provider


@pytest.fixture(scope="module")
def controller(
    running_provider: IdentityProvider, redis_server: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RunningController]:
    folder = tmp_path_factory.mktemp("single-sign-on")
    listener = bind("127.0.0.1", 0)  # its address belongs in the settings before it serves
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    options = make_options(running_provider.issuer) | {"public_url": url, "anonymous_requests_per_second": 1000.0}
    database = f"sqlite:///{folder / 'test.db'}"
    with RunningController(database, redis_server.url, folder, listener=listener, **options) as running:
        running_provider.redirect_uris.add(f"{running.url}/sign-in/sso/callback")
        with running.client("admin") as admin:
            for name in ("bird-lab", "fish-lab"):
                admin.create_project(ProjectRequest(name=name))
        yield running


def make_options(issuer: str) -> dict[str, Any]:
    """Settings of single sign-on."""
    client = {"oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET, "oidc_roles": ROLES | PROJECTS}
    return {"oidc_issuer": issuer, "public_url": "http://127.0.0.1:8080", **client}


@pytest.fixture
def browser(controller: RunningController, provider: IdentityProvider) -> Iterator[httpx.Client]:
    with controller.http() as http:
        http.headers["Origin"] = controller.url
        yield http


def answer_of(browser: httpx.Client, target: str = "/") -> str:
    """The address to which the provider sends the browser back."""
    begun = browser.get("/sign-in/sso", params={"next": target})
    assert begun.status_code == 303, begun.text
    return httpx.get(begun.headers["Location"]).headers["Location"]


def sign_in(browser: httpx.Client, target: str = "/") -> httpx.Response:
    return browser.get(answer_of(browser, target))


def test_whoever_the_provider_vouches_for_is_signed_in_with_the_role_of_their_groups(
    provider: IdentityProvider, browser: httpx.Client
) -> None:
    assert "/sign-in/sso?next=/workers" in browser.get("/sign-in?next=/workers").text
    reply = sign_in(browser, "/workers")
    assert (reply.status_code, 'content="0;url=/workers"' in reply.text) == (200, True)
    session = next(line for line in reply.headers.get_list("Set-Cookie") if line.startswith(SESSION_COOKIE))
    assert "HttpOnly" in session
    assert "SameSite=strict" in session
    assert COOKIE not in browser.cookies
    started = browser.post("/api/v1/experiments", json={"kind": "search", "profile": "synthetic"})
    assert (started.status_code, started.json()["owner"]) == (201, provider.name)
    assert browser.get("/api/v1/keys").status_code == 403
    assert browser.post("/sign-out").status_code == 303
    assert browser.get("/api/v1/status").status_code == 401


def test_the_request_has_a_challenge_a_state_and_a_nonce_of_its_own(browser: httpx.Client) -> None:
    asked = [parse_qs(urlsplit(browser.get("/sign-in/sso").headers["Location"]).query) for _ in range(2)]
    for name in ("state", "nonce", "code_challenge"):
        first, second = (query[name][0] for query in asked)
        assert first != second
        assert len(first) >= 43
    cookie = browser.get("/sign-in/sso").headers["Set-Cookie"]
    for part in ("HttpOnly", "SameSite=lax", "Path=/sign-in/sso", "Max-Age=600"):
        assert part in cookie


@pytest.mark.parametrize(
    ("groups", "role"),
    [(["guests", "ml-admins", "unknown"], "admin"), ("guests", "viewer"), (["detection", "guests"], "user")],
)
def test_the_highest_role_of_the_groups_counts(
    controller: RunningController, browser: httpx.Client, provider: IdentityProvider, groups: Any, role: str
) -> None:
    provider.person["groups"] = groups
    sign_in(browser)
    with controller.client("admin") as admin:
        assert {key.name: key.role for key in admin.list_keys()}[provider.name] == role


@pytest.mark.parametrize(
    ("groups", "given"),
    [
        (["birds"], ("user", "bird-lab")),
        (["fish", "birds", "auditors"], ("user", "bird-lab")),  # the setting's first of those with the highest role
        (["auditors"], ("viewer", None)),
        (["birds", "ml-admins"], ("admin", None)),
        (["detection"], ("user", "default")),
    ],
)
def test_a_group_may_be_for_a_project(
    controller: RunningController,
    browser: httpx.Client,
    provider: IdentityProvider,
    groups: list[str],
    given: tuple[str, str | None],
) -> None:
    provider.person["groups"] = groups
    sign_in(browser)
    with controller.client("admin") as admin:
        (person,) = (key for key in admin.list_keys() if key.name == provider.name)
    assert (person.role, person.project) == given


def test_a_group_for_a_project_that_is_not_there_opens_nothing(
    browser: httpx.Client, provider: IdentityProvider
) -> None:
    provider.person["groups"] = ["lost"]
    reply = sign_in(browser)
    assert (reply.status_code, "there is no project &#39;no-lab&#39;" in reply.text) == (403, True)
    assert session_name(browser) not in browser.cookies


def test_groups_may_come_from_the_user_info_of_the_same_person(
    browser: httpx.Client, provider: IdentityProvider
) -> None:
    del provider.person["groups"]
    provider.told_by_userinfo = {"sub": provider.person["sub"], "groups": ["guests"]}
    assert sign_in(browser).status_code == 200
    provider.told_by_userinfo = {"sub": "another", "groups": ["ml-admins"]}
    browser.cookies.clear()
    assert sign_in(browser).status_code == 401
    assert session_name(browser) not in browser.cookies


@pytest.mark.parametrize("groups", [[], ["unknown"], None, 7, {"ml-admins": True}])
def test_without_a_group_that_has_a_role_nobody_comes_in(
    controller: RunningController, browser: httpx.Client, provider: IdentityProvider, groups: Any
) -> None:
    provider.told_by_userinfo = {"sub": provider.person["sub"]}
    provider.person["groups"] = groups
    reply = sign_in(browser)
    assert (reply.status_code, "none of your groups" in reply.text) == (403, True)
    assert session_name(browser) not in browser.cookies


def test_whoever_loses_their_groups_loses_what_they_have_open_at_the_next_sign_in(
    controller: RunningController, browser: httpx.Client, provider: IdentityProvider
) -> None:
    sign_in(browser)
    made = browser.post("/api/v1/tokens", json={"name": "laptop", "role": "user"}).json()
    with controller.http() as elsewhere, Client(controller.url, made["token"]) as program:
        assert program.status().workers_live == 0
        provider.person["groups"] = []
        assert sign_in(elsewhere).status_code == 403
        assert browser.get("/api/v1/status").status_code == 401
        provider.person["groups"] = ["detection"]
        assert sign_in(elsewhere).status_code == 200
        assert program_status(controller, made["token"]) == 401


def program_status(controller: RunningController, token: str) -> int:
    headers = {"Authorization": f"Bearer {token}"}
    return httpx.get(f"{controller.url}/api/v1/status", headers=headers).status_code


def test_a_person_is_their_subject_whatever_they_are_called(
    controller: RunningController, browser: httpx.Client, provider: IdentityProvider
) -> None:
    given = (("s1", "eve"), ("s2", "eve"), ("s1", "eve-married"), ("s3", "admin"), ("s4", "a\r\n<b>"))
    for subject, name in given:
        provider.person |= {"sub": subject, "preferred_username": name}
        browser.cookies.clear()
        assert sign_in(browser).status_code == 200
    with controller.client("admin") as admin:
        people = {key.name for key in admin.list_keys()}
    assert {"eve@localhost", "admin@localhost", "a---b-@localhost"} <= people
    assert len([name for name in people if name.startswith("eve")]) == 2


def test_an_unverified_address_names_nobody(
    controller: RunningController, browser: httpx.Client, provider: IdentityProvider
) -> None:
    provider.person = {"sub": "9", "groups": ["guests"], "email": "boss@example.org", "email_verified": False}
    sign_in(browser)
    with controller.client("admin") as admin:
        names = [key.name for key in admin.list_keys()]
    assert "9@localhost" in names
    assert "boss@example.org" not in names


def sign_with_another_key(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "RS256", "kid": "first"}, claims, RSAKey.generate_key(2048))


def sign_with_nothing(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "none"}, claims, KEY, registry=JWSRegistry(algorithms=["none"]))


def sign_with_the_public_key_as_a_secret(claims: dict[str, Any]) -> str:
    secret = OctKey.import_key(KEY.as_pem(private=False))
    return jwt.encode({"alg": "HS256", "kid": "first"}, claims, secret)


def sign_with_the_clients_secret(claims: dict[str, Any]) -> str:
    return jwt.encode({"alg": "HS256"}, claims, OctKey.import_key(CLIENT_SECRET))


def break_the_signature(claims: dict[str, Any]) -> str:
    head, _, signature = sign(claims).split(".")
    return ".".join((head, sign(claims | {"groups": ["ml-admins"]}).split(".")[1], signature))


@pytest.mark.parametrize(
    "forge",
    [
        sign_with_another_key,
        sign_with_nothing,
        sign_with_the_public_key_as_a_secret,
        sign_with_the_clients_secret,
        break_the_signature,
        lambda _: "no.token",
        lambda _: "",
    ],
)
def test_a_token_that_the_provider_has_not_signed_opens_nothing(
    browser: httpx.Client, provider: IdentityProvider, forge: Callable[[dict[str, Any]], str]
) -> None:
    provider.sign = forge
    reply = sign_in(browser)
    assert reply.status_code in {401, 502}
    assert 'role="alert"' in reply.text
    assert session_name(browser) not in browser.cookies


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"iss": None},
        {"aud": "another-client"},
        {"aud": [CLIENT_ID, "another-client"]},
        {"aud": [CLIENT_ID, "another-client"], "azp": "another-client"},
        {"aud": None},
        {"nonce": "of-another-sign-in"},
        {"nonce": None},
        {"exp": 1_000_000_000},
        {"exp": None},
        {"iat": None},
        {"iat": 4_000_000_000},
        {"sub": None},
        {"at_hash": "of-another-token"},
    ],
    ids=str,
)
def test_a_token_for_somebody_else_opens_nothing(
    browser: httpx.Client, provider: IdentityProvider, claims: dict[str, Any]
) -> None:
    provider.claims = claims
    reply = sign_in(browser)
    assert reply.status_code == 401
    assert session_name(browser) not in browser.cookies


def test_a_code_opens_one_session(controller: RunningController, browser: httpx.Client) -> None:
    answer = answer_of(browser)
    kept = browser.cookies[COOKIE]
    assert browser.get(answer).status_code == 200
    with controller.http() as thief:
        assert thief.get(answer).status_code == 400, "a browser that has not begun it"
        again = thief.get(answer, headers={"Cookie": f"{COOKIE}={kept}"})
        assert (again.status_code, "invalid_grant" in again.text) == (401, True)
        assert session_name(thief) not in thief.cookies


def test_a_code_that_was_taken_on_its_way_opens_nothing(controller: RunningController, browser: httpx.Client) -> None:
    answer = answer_of(browser)
    with controller.http() as thief:
        thief.get("/sign-in/sso")  # a sign-in of the thief's own, with another verifier, state and nonce
        assert thief.get(answer).status_code == 400
        own_state = parse_qs(urlsplit(answer_of(thief)).query)["state"][0]
        code = parse_qs(urlsplit(answer).query)["code"][0]
        reply = thief.get("/sign-in/sso/callback", params={"code": code, "state": own_state})
        assert (reply.status_code, "invalid_grant" in reply.text) == (401, True)


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ({"state": "another"}, 400),
        ({"state": ""}, 400),
        ({"state": "\u00e9"}, 400),
        ({"iss": "https://evil.example"}, 400),
        ({"code": ""}, 400),
        ({"code": "guessed"}, 401),
        ({"error": "access_denied<script>"}, 401),
    ],
    ids=str,
)
def test_an_answer_that_was_changed_opens_nothing(browser: httpx.Client, change: dict[str, str], status: int) -> None:
    answer = urlsplit(answer_of(browser))
    query = {name: values[0] for name, values in parse_qs(answer.query).items()} | change
    reply = browser.get(answer.path, params=query)
    assert reply.status_code == status
    assert "<script>" not in reply.text.replace('<script src="/static', "")
    assert session_name(browser) not in browser.cookies


@pytest.mark.parametrize("target", ["https://evil.example/", "//evil.example", "/\\evil.example", "javascript:x"])
def test_signing_in_leads_nowhere_else(browser: httpx.Client, target: str) -> None:
    reply = sign_in(browser, target)
    assert 'content="0;url=/"' in reply.text
    assert "evil" not in reply.text


@pytest.mark.parametrize("cookie", ["", "x", "e30=", "bm90aGluZw==", "\u00ff"])
def test_a_broken_cookie_opens_nothing(browser: httpx.Client, cookie: str) -> None:
    headers = {"Cookie": f"{COOKIE}={cookie}".encode("latin-1")}
    assert browser.get("/sign-in/sso/callback?code=x&state=y", headers=headers).status_code == 400


@pytest.mark.parametrize(
    "metadata",
    [{"issuer": "https://evil.example"}, {"token_endpoint": None}, {"jwks_uri": "file:///etc/passwd"}],
    ids=str,
)
def test_a_provider_that_is_not_the_configured_one_is_refused(
    provider: IdentityProvider, metadata: dict[str, Any]
) -> None:
    provider.metadata = metadata
    with pytest.raises(SignOnError) as refused:
        SingleSignOn(Settings.model_validate(make_options(provider.issuer))).begin("/")
    assert refused.value.status == 502


def test_a_provider_that_is_gone_is_told() -> None:
    with IdentityProvider() as provider:
        single_sign_on = SingleSignOn(Settings.model_validate(make_options(provider.issuer)))
        _, begun = single_sign_on.begin("/")
    with pytest.raises(SignOnError, match="does not answer") as refused:
        single_sign_on.finish(begun, {"state": begun.state, "code": "x"})
    assert refused.value.status == 502


def test_a_provider_that_answers_slowly_does_not_take_every_thread() -> None:
    with IdentityProvider() as provider:
        single_sign_on = SingleSignOn(Settings.model_validate(make_options(provider.issuer)))
        with ExitStack() as waiting:
            for _ in range(MOST_AT_ONCE):
                waiting.enter_context(single_sign_on.session())
            with pytest.raises(SignOnError, match="at once") as refused:
                single_sign_on.begin("/")
            assert refused.value.status == 503
        assert single_sign_on.begin("/")[0].startswith(provider.issuer)


def test_signing_out_leads_on_to_the_provider(controller: RunningController, browser: httpx.Client) -> None:
    reply = browser.get("/sign-out/sso")
    address = urlsplit(reply.headers["Location"])
    assert address.path == "/end"
    assert parse_qs(address.query)["post_logout_redirect_uri"] == [f"{controller.url}/sign-in"]


def test_revoking_a_person_ends_their_session(
    controller: RunningController, browser: httpx.Client, provider: IdentityProvider
) -> None:
    sign_in(browser)
    with controller.client("admin") as admin:
        admin.revoke_key(provider.name)
    assert browser.get("/api/v1/status").status_code == 401
    assert sign_in(browser).status_code == 200
    assert browser.get("/api/v1/status").status_code == 200


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"oidc_client_id": ""}, "oidc_client_id"),
        ({"oidc_roles": {}}, "oidc_roles"),
        ({"oidc_roles": {"machines": "worker"}}, "oidc_roles"),
        ({"oidc_roles": {"birds": "bird-lab:admin"}}, "oidc_roles"),
        ({"oidc_roles": {"birds": "Bird_Lab:user"}}, "oidc_roles"),
        ({"public_url": ""}, "public_url"),
        ({"oidc_issuer": "http://login.example.org"}, "oidc_issuer: expected an https address"),
        ({"oidc_scopes": "profile"}, "oidc_scopes"),
    ],
    ids=str,
)
def test_a_half_configured_provider_is_refused_at_start(changes: dict[str, Any], message: str) -> None:
    whole = {"oidc_issuer": "https://login.example.org", "oidc_client_id": "x", "public_url": "https://p.example.org"}
    Settings.model_validate(whole | {"oidc_roles": ROLES})
    with pytest.raises(ValueError, match=message):
        Settings.model_validate(whole | {"oidc_roles": ROLES} | changes)
