"""Signing in with an identity provider: OpenID Connect, the authorization code flow with PKCE, state and nonce.

Between the two halves the browser keeps what belongs to one sign-in, in a cookie of its own that lives for minutes; so
any replica may answer, and an answer that another browser has begun, or none, opens nothing. The provider's keys are
asked for at every sign-in: there is no copy that could be out of date.

Sources: OpenID Connect Core 1.0 (3.1), Discovery 1.0, RP-Initiated Logout 1.0; RFC 7636 (PKCE), RFC 9207 (issuer).
"""

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import urlencode, urlsplit

import requests
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.requests_client import OAuth2Session
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, KeySetSerialization
from joserfc.jws import JWSRegistry
from pydantic import BaseModel, ConfigDict, ValidationError

from paploss.client.states import TokenRole
from paploss.controller.api.remembered import Remembered
from paploss.controller.settings import Settings
from paploss.controller.store.access.people import highest_grant, identify_person, split_grant

CALLBACK_PATH = "/sign-in/sso/callback"
METADATA_SECONDS = 300.0
TIMEOUT_SECONDS = 10.0
MOST_AT_ONCE = 4
"""A provider that does not answer must not keep all threads of the pages waiting for it."""
LEEWAY_SECONDS = 60
ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"]
"""Of signatures by the provider alone: never `none`, nor one with a secret that both sides have."""


class SignOnError(Exception):
    """Signing in failed; the text is for the person."""

    def __init__(self, message: str, status: int = 401) -> None:
        super().__init__(message)
        self.status = status


class Metadata(BaseModel):
    """What the provider says of itself."""

    model_config = ConfigDict(extra="ignore")

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str | None = None
    end_session_endpoint: str | None = None


class Begun(BaseModel):
    """What the browser keeps of a sign-in that it has begun."""

    model_config = ConfigDict(extra="forbid")

    state: str
    nonce: str
    verifier: str
    target: str


@dataclass(frozen=True)
class Person:
    """Somebody whom the provider vouches for.

    `role`: the highest that their groups give; None for none. `project`: the one that they have it in; None: all.
    """

    subject: str
    name: str
    role: TokenRole | None
    project: str | None


class SingleSignOn:
    """One client at one provider. Safe to use from threads."""

    def __init__(self, settings: Settings) -> None:
        """`settings`: with `oidc_issuer`."""
        self._settings = settings
        self._metadata: Remembered[Metadata] = Remembered(METADATA_SECONDS)
        self._free = threading.BoundedSemaphore(MOST_AT_ONCE)

    @property
    def home(self) -> str:
        """The controller's own address, as the provider's configuration names it."""
        return self._settings.public_url.rstrip("/")

    def begin(self, target: str) -> tuple[str, Begun]:
        """Where to send the browser, and what it has to keep; `target`: where it goes in the end.

        Raises:
            SignOnError: the provider does not answer as it should.
        """
        begun = Begun(
            state=secrets.token_urlsafe(32),
            nonce=secrets.token_urlsafe(32),
            verifier=secrets.token_urlsafe(48),
            target=target,
        )
        with self.session() as session:
            address, _ = session.create_authorization_url(
                self._read_metadata(session).authorization_endpoint,
                state=begun.state,
                nonce=begun.nonce,
                code_verifier=begun.verifier,
            )
        return address, begun

    def finish(self, begun: Begun, answer: Mapping[str, str]) -> Person:
        """Who signs in, from the query with which the provider has sent the browser back.

        Raises:
            SignOnError: the answer belongs to no sign-in of this browser, or is none that the provider vouches for.
        """
        if not secrets.compare_digest(answer.get("state", "").encode(), begun.state.encode()):
            raise SignOnError("This answer belongs to another sign-in. Please sign in again.", 400)
        if (issuer := answer.get("iss", self._settings.oidc_issuer)) != self._settings.oidc_issuer:
            raise SignOnError(f"This answer is from another identity provider, {issuer}.", 400)
        if "error" in answer:
            raise SignOnError(f"The identity provider has refused: {answer['error'][:100]}")
        if not answer.get("code"):
            raise SignOnError("The identity provider has sent no code.", 400)
        with self.session() as session:
            metadata = self._read_metadata(session)
            token = session.fetch_token(
                metadata.token_endpoint,
                code=answer["code"],
                code_verifier=begun.verifier,
                timeout=TIMEOUT_SECONDS,
                allow_redirects=False,
            )
            claims = self._verify(session, metadata, token, begun.nonce)
            if self._settings.oidc_groups_claim not in claims and metadata.userinfo_endpoint is not None:
                told = _ask(session, metadata.userinfo_endpoint)
                if told.get("sub") != claims["sub"]:
                    raise SignOnError("The identity provider has told about somebody else.")
                claims = told | claims
        return self._person(claims)

    def logout_address(self) -> str | None:
        """Where the browser's session at the provider is ended; None where the provider has no such place."""
        with self.session() as session:
            endpoint = self._read_metadata(session).end_session_endpoint
        if endpoint is None:
            return None
        query = {"client_id": self._settings.oidc_client_id, "post_logout_redirect_uri": f"{self.home}/sign-in"}
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    @contextmanager
    def session(self) -> Iterator[OAuth2Session]:
        """A client at the provider, whose failures are told for people.

        Raises:
            SignOnError: what went wrong; also where `MOST_AT_ONCE` are in use.
        """
        secret = self._settings.oidc_client_secret
        if not self._free.acquire(blocking=False):
            raise SignOnError("Many people sign in at once. Please try again in a moment.", 503)
        try:
            with OAuth2Session(
                self._settings.oidc_client_id,
                secret.get_secret_value() if secret else None,
                token_endpoint_auth_method="client_secret_basic" if secret else "none",
                scope=self._settings.oidc_scopes,
                redirect_uri=self.home + CALLBACK_PATH,
                code_challenge_method="S256",
                leeway=0,  # the access token is used at once, however short it lives
            ) as session:
                yield session
        except requests.RequestException as error:
            raise SignOnError(f"The identity provider does not answer: {type(error).__name__}.", 502) from error
        except AuthlibBaseError as error:  # OAuth errors and those of claims
            raise SignOnError(f"The identity provider's answer is not accepted: {error.error}.") from error
        except JoseError as error:
            raise SignOnError(f"The identity provider's answer is not valid: {error.error}.") from error
        except ValueError as error:  # no JSON, no keys
            raise SignOnError("The identity provider's answer cannot be read.", 502) from error
        finally:
            self._free.release()

    def _read_metadata(self, session: OAuth2Session) -> Metadata:
        return self._metadata.get(lambda: self._fetch_metadata(session))

    def _fetch_metadata(self, session: OAuth2Session) -> Metadata:
        issuer = self._settings.oidc_issuer
        found = _ask(session, f"{issuer.rstrip('/')}/.well-known/openid-configuration", withhold_token=True)
        try:
            metadata = Metadata.model_validate(found)
        except ValidationError as error:
            raise SignOnError("The identity provider's description of itself is not complete.", 502) from error
        if metadata.issuer != issuer:
            raise SignOnError(f"The identity provider calls itself {metadata.issuer}, expected {issuer}.", 502)
        scheme = urlsplit(issuer).scheme
        asked = (
            metadata.authorization_endpoint,
            metadata.token_endpoint,
            metadata.jwks_uri,
            metadata.userinfo_endpoint,
        )
        if any(address is not None and urlsplit(address).scheme not in {scheme, "https"} for address in asked):
            raise SignOnError(f"The identity provider names addresses without {scheme}.", 502)
        return metadata

    def _verify(
        self, session: OAuth2Session, metadata: Metadata, token: Mapping[str, Any], nonce: str
    ) -> dict[str, Any]:
        """The claims of the ID token, whose signature, issuer, audience, times and nonce are right."""
        keys = KeySet.import_key_set(cast("KeySetSerialization", _ask(session, metadata.jwks_uri, withhold_token=True)))
        registry = JWSRegistry(algorithms=ALGORITHMS, strict_check_header=False)
        decoded = jwt.decode(str(token.get("id_token", "")), key=keys, registry=registry)
        client_id = self._settings.oidc_client_id
        claims = CodeIDToken(
            decoded.claims,
            decoded.header,
            {
                "iss": {"essential": True, "value": metadata.issuer},
                "aud": {"essential": True, "value": client_id},
                "sub": {"essential": True},
                "exp": {"essential": True},
            },
            {"nonce": nonce, "client_id": client_id, "access_token": token.get("access_token")},
        )
        claims.validate(leeway=LEEWAY_SECONDS)
        return dict(claims)

    def _person(self, claims: Mapping[str, Any]) -> Person:
        issuer, subject = self._settings.oidc_issuer, str(claims["sub"])
        given = claims.get(self._settings.oidc_groups_claim)
        groups = [group for group in (given if isinstance(given, list) else [given]) if isinstance(group, str)]
        grants = [split_grant(grant) for group, grant in self._settings.oidc_roles.items() if group in groups]
        role, project = highest_grant(grants) or (None, None)
        name = claims.get("preferred_username") or (claims.get("email_verified") is True and claims.get("email"))
        name = str(name or subject)
        if "@" not in name:
            name = f"{name}@{urlsplit(issuer).hostname}"
        return Person(identify_person(issuer, subject), name, role, project)


def _ask(session: OAuth2Session, address: str, **options: Any) -> dict[str, Any]:
    reply = session.get(address, timeout=TIMEOUT_SECONDS, **options)
    reply.raise_for_status()
    found = reply.json()
    if not isinstance(found, dict):
        raise ValueError(f"{address}: expected an object")
    return found
