"""A real browser for the tests of the page, and what there is to look at."""

from dataclasses import dataclass
from typing import Any

import pytest
from controllers import RunningController

from paploss.client.states import Role

sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


PATIENCE_MS = 120_000
"""Not a demand: a busy machine is slow."""


class Visitor:
    """Opens pages in browsers of their own, and fails the test if a console holds an error."""

    def __init__(self, browser: "sync_api.Browser") -> None:
        self._browser = browser
        self._contexts: list[Any] = []
        self.errors: list[str] = []
        self.expected: tuple[str, ...] = ()
        """Parts of errors that the test brings about."""

    def open(self, url: str, **options: Any) -> "sync_api.Page":
        """A browser without any past, at `url`; `options` are those of a Playwright context."""
        context = self._browser.new_context(**options)
        self._contexts.append(context)
        context.set_default_timeout(PATIENCE_MS)
        page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.goto(url)
        return page

    def sign_in(self, running: RunningController, role: Role, **options: Any) -> "sync_api.Page":
        """The same, signed in with the role's key, the way people do it."""
        page = self.open(f"{running.url}/sign-in", **options)
        page.get_by_label("API key").fill(running.keys[role])
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url(f"{running.url}/")
        return page

    def close(self) -> None:
        """Close all of them."""
        for context in self._contexts:
            context.close()


@dataclass(frozen=True)
class Site:
    """A controller that stands still, with everything that a page can show."""

    running: RunningController
    finished: str
    unfinished: str
    training: str
    subscription: str

    @property
    def pages(self) -> dict[str, str]:
        """Every page, by a name."""
        return {
            "searches": "/",
            "search": f"/experiments/{self.finished}",
            "running search": f"/experiments/{self.unfinished}",
            "trial": f"/trials/{self.finished}-000003",
            "running trial": f"/trials/{self.unfinished}-000032",
            "trainings": "/trainings",
            "training": f"/experiments/{self.training}",
            "start": "/experiments/new?example=bccd",
            "compare": f"/compare?id={self.finished}&id={self.unfinished}&id={self.training}",
            "explore": f"/experiments/{self.finished}/explore",
            "workers": "/workers",
            "words": "/words",
            "tokens": "/tokens",
            "notifications": f"/subscriptions?experiment={self.unfinished}",
            "deliveries": f"/subscriptions/{self.subscription}",
            "projects": "/projects",
            "unknown": "/experiments/0nothing",
        }
