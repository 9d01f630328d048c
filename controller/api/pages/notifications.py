"""The pages of subscriptions: who is told of what, and what became of each delivery. They work without a script."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Form, Query
from fastapi.responses import HTMLResponse, RedirectResponse
from pydantic import ValidationError
from starlette.responses import Response

from paploss.client.notifications import OCCASIONS, Channel, NewSubscription, SubscriptionRequest
from paploss.controller.api.pages.pages import pages
from paploss.controller.api.parameters import SubscriptionId
from paploss.controller.api.problems import ProblemError, describe_errors
from paploss.controller.api.rest import subscriptions
from paploss.controller.api.security.access import EDITORS, AuthorizedRoute, SignedIn
from paploss.controller.api.security.callers import Caller
from paploss.controller.api.services import Injected, Services
from paploss.controller.api.views import subscription_summary
from paploss.controller.store.errors import ConflictError, NotFoundError
from paploss.controller.store.notifications.deliveries import MOST_ATTEMPTS
from paploss.controller.store.notifications.subscriptions import get_subscription
from paploss.controller.store.reading.experiments import find_experiments, list_open_experiments
from paploss.controller.store.tables import Experiment

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False)

SECTION = "Notifications"
CHANNELS: tuple[Channel, ...] = get_args(Channel)
MOST_CHOICES = 100

Action = Literal["test", "pause", "resume", "remove"]
ChosenExperiment = Annotated[str, Query(alias="experiment", pattern=r"^[0-9a-z]{0,32}$")]


@dataclass(frozen=True)
class Typed:
    """What stands in the form."""

    channel: str = "webhook"
    target: str = ""
    experiment_id: str = ""
    """Empty: all."""
    occasions: Sequence[str] = OCCASIONS

    def document(self) -> dict[str, Any]:
        """The request as JSON would have it."""
        return {
            "channel": self.channel,
            "target": self.target.strip(),
            "experiment_id": self.experiment_id or None,
            "occasions": self.occasions,
        }


@router.get("/subscriptions")
def show(services: Injected, caller: SignedIn, experiment: ChosenExperiment = "") -> HTMLResponse:
    """All subscriptions that the caller sees, and the form, with the experiment chosen that the address names."""
    return _render(services, caller, Typed(experiment_id=experiment))


@router.post("/subscriptions")
def create(
    services: Injected,
    caller: SignedIn,
    *,
    channel: Annotated[str, Form(max_length=20)] = "",
    target: Annotated[str, Form(max_length=4000)] = "",
    experiment_id: Annotated[str, Form(max_length=100)] = "",
    occasions: Annotated[list[str], Form(max_length=20)] = [],  # noqa: B006 (not changed)
) -> HTMLResponse:
    """Subscribe, and show a webhook's secret; or show the form again with its errors."""
    typed = Typed(channel, target, experiment_id, occasions)
    document = typed.document()
    try:
        made = subscriptions.create(SubscriptionRequest.model_validate(document), caller, services)
    except ValidationError as error:
        found = describe_errors(error.errors(), document)
    except ProblemError as error:
        found = error.errors
    except NotFoundError as error:
        return _render(services, caller, typed, errors={"experiment_id": str(error)}, status=404)
    except ConflictError as error:
        return _render(services, caller, typed, errors={"": str(error)}, status=409)
    else:
        return _render(services, caller, Typed(), made=made, status=201)
    errors = {item.pointer.strip("/").partition("/")[0]: item.message for item in found}
    return _render(services, caller, typed, errors=errors, status=422)


@router.get("/subscriptions/{subscription_id}")
def show_one(subscription_id: SubscriptionId, services: Injected, caller: SignedIn) -> HTMLResponse:
    """One subscription with the log of its deliveries."""
    with services.database.read() as session:
        subscription = subscription_summary(get_subscription(session, subscription_id))
        found = find_experiments(session, [subscription.experiment_id or ""])
    log = subscriptions.list_deliveries(subscription_id, services).items
    page = pages.render(
        "subscription.html",
        caller=caller,
        section=SECTION,
        subscription=subscription,
        deliveries=log,
        names=_names(found),
        may_change=subscriptions.may_change(caller, subscription.owner),
        most_attempts=MOST_ATTEMPTS,
    )
    return HTMLResponse(page)


@router.post("/subscriptions/{subscription_id}/{action}")
def act(subscription_id: SubscriptionId, action: Action, services: Injected, caller: SignedIn) -> Response:
    """Do what a button says, and show what came of it."""
    if action == "remove":
        subscriptions.delete(subscription_id, caller, services)
        return RedirectResponse("/subscriptions", 303)
    do = {"test": subscriptions.test, "pause": subscriptions.pause, "resume": subscriptions.resume}[action]
    do(subscription_id, caller, services)
    return RedirectResponse(f"/subscriptions/{subscription_id}", 303)


def _render(
    services: Services,
    caller: Caller,
    typed: Typed,
    *,
    errors: Mapping[str, str] | None = None,
    made: NewSubscription | None = None,
    status: int = 200,
) -> HTMLResponse:
    found = subscriptions.list_all(services).items
    with services.database.read() as session:
        named = find_experiments(session, [each.experiment_id for each in found if each.experiment_id])
        chosen = find_experiments(session, [typed.experiment_id])
        is_open = list_open_experiments(session, MOST_CHOICES) if caller.role in EDITORS else []
    page = pages.render(
        "subscriptions.html",
        caller=caller,
        section=SECTION,
        subscriptions=found,
        names=_names(named),
        choices=_names([*chosen, *is_open]),
        typed=typed,
        errors=errors or {},
        made=made,
        may_subscribe=caller.role in EDITORS,
        channels=CHANNELS,
        occasions=OCCASIONS,
        sends_mail=services.settings.smtp_url is not None,
    )
    return HTMLResponse(page, status)


def _names(experiments: Sequence[Experiment]) -> dict[str, str]:
    """How each is called, by id."""
    return {each.id: each.name or f"{each.kind} {each.id}" for each in experiments}
