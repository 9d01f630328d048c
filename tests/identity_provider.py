"""An OpenID Connect provider on the loopback: discovery, authorization code with PKCE, keys, user info, end of session.

It does what the specifications say of a provider, and can be told to answer with what it must not.
"""

import base64
import secrets
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlencode

from authlib.oauth2.rfc7636 import create_s256_code_challenge
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, RedirectResponse
from joserfc import jwt
from joserfc.jwk import KeySet, RSAKey

from paploss.controller.api.server import bind, make_server

CLIENT_ID, CLIENT_SECRET = "paploss-tests", "secret-of-the-client"
KEY = RSAKey.generate_key(2048, parameters={"kid": "first"})


class IdentityProvider:
    """Serves between `with` and its end; whoever comes is signed in as `person` at once."""

    def __init__(self) -> None:
        self.behave()
        self.redirect_uris: set[str] = set()
        self.codes: dict[str, dict[str, str]] = {}
        self._listener = bind("127.0.0.1", 0)
        # Another site than 127.0.0.1, where the controller is, for a browser.
        self.issuer = f"http://localhost:{self._listener.getsockname()[1]}"
        self._server = make_server(self._make_app())
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._listener]})

    def __enter__(self) -> Self:
        self._thread.start()
        while not self._server.started:
            assert self._thread.is_alive(), "the identity provider did not start"
            time.sleep(0.005)
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def behave(self) -> None:
        """Do everything right from now on, for a person who has never come before."""
        number = secrets.token_hex(4)
        self.person: dict[str, Any] = {"sub": number, "preferred_username": f"ann-{number}", "groups": ["detection"]}
        self.told_by_userinfo: dict[str, Any] = {}
        self.metadata: dict[str, Any] = {}
        """What is to differ in the description of itself."""
        self.claims: dict[str, Any] = {}
        """What is to differ in the ID token; None leaves a claim out."""
        self.sign: Callable[[dict[str, Any]], str] = sign

    @property
    def name(self) -> str:
        """What a controller calls the person."""
        return f"{self.person['preferred_username']}@localhost"

    def make_id_token(self, nonce: str) -> str:
        now = int(time.time())
        claims = {"iss": self.issuer, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": nonce}
        claims |= self.person | self.claims
        return self.sign({name: value for name, value in claims.items() if value is not None})

    def _make_app(self) -> FastAPI:
        app = FastAPI()

        @app.get("/.well-known/openid-configuration")
        def describe() -> dict[str, Any]:
            endpoints = {"authorization": "authorize", "token": "token", "userinfo": "userinfo", "end_session": "end"}
            found = {f"{name}_endpoint": f"{self.issuer}/{path}" for name, path in endpoints.items()}
            return found | {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"} | self.metadata

        @app.get("/keys")
        def list_keys() -> dict[str, Any]:
            return KeySet([KEY]).as_dict(private=False)

        @app.get("/authorize")
        def authorize(request: Request) -> RedirectResponse:
            asked = dict(request.query_params)
            assert asked["client_id"] == CLIENT_ID
            assert asked["redirect_uri"] in self.redirect_uris
            assert (asked["response_type"], asked["code_challenge_method"]) == ("code", "S256")
            assert "openid" in asked["scope"].split()
            code = secrets.token_urlsafe(16)
            self.codes[code] = asked
            answer = {"code": code, "state": asked["state"], "iss": self.issuer}
            return RedirectResponse(f"{asked['redirect_uri']}?{urlencode(answer)}", 303)

        @app.post("/token")
        async def give_token(request: Request) -> JSONResponse:
            form = {name: values[0] for name, values in parse_qs((await request.body()).decode()).items()}
            credentials = base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
            if request.headers.get("authorization") != f"Basic {credentials}":
                return JSONResponse({"error": "invalid_client"}, 401)
            asked = self.codes.pop(form["code"], None)
            if asked is None or create_s256_code_challenge(form["code_verifier"]) != asked["code_challenge"]:
                return JSONResponse({"error": "invalid_grant"}, 400)
            if form["redirect_uri"] != asked["redirect_uri"]:
                return JSONResponse({"error": "invalid_grant"}, 400)
            token = {"access_token": secrets.token_urlsafe(16), "token_type": "Bearer", "expires_in": 60}
            return JSONResponse(token | {"id_token": self.make_id_token(asked["nonce"])})

        @app.get("/userinfo")
        def tell() -> dict[str, Any]:
            return self.told_by_userinfo

        return app


def sign(claims: dict[str, Any]) -> str:
    """The claims with the provider's signature."""
    return jwt.encode({"alg": "RS256", "kid": "first"}, claims, KEY)
