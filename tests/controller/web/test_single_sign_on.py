"""Single sign-on in a real browser, with a provider on another site: there the session's cookie is kept back."""

from pathlib import Path

import pytest
from browsers import Visitor
from controllers import RunningController
from identity_provider import CLIENT_ID, CLIENT_SECRET, IdentityProvider

from paploss.controller.api.server import bind

pytestmark = pytest.mark.browser


def test_a_browser_comes_back_signed_in_to_where_it_was_going(
    visitor: Visitor, sqlite_url: str, redis_url: str, tmp_path: Path
) -> None:
    listener = bind("127.0.0.1", 0)
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    client = {"oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET, "oidc_roles": {"detection": "user"}}
    with IdentityProvider() as provider:
        provider.redirect_uris.add(f"{url}/sign-in/sso/callback")
        options = {"oidc_issuer": provider.issuer, "public_url": url, **client}
        with RunningController(sqlite_url, redis_url, tmp_path, listener=listener, **options):
            page = visitor.open(f"{url}/workers")
            page.get_by_role("link", name="Sign in with single sign-on").click()
            page.wait_for_url(f"{url}/workers")
            assert page.get_by_role("link", name=provider.name).is_visible()
            page.get_by_role("button", name="Sign out").click()
            page.wait_for_url(f"{url}/sign-in")
            assert page.goto(f"{url}/workers").url.startswith(f"{url}/sign-in?")
