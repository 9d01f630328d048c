"""Subscriptions to what happens over HTTP, and the log of their deliveries."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from fastapi import APIRouter, status

from paploss.client.models import Page
from paploss.client.notifications import DeliverySummary, NewSubscription, SubscriptionRequest, SubscriptionSummary
from paploss.controller.api import problems
from paploss.controller.api.parameters import SubscriptionId
from paploss.controller.api.problems import ProblemError, field_error
from paploss.controller.api.security.access import EDITORS, AuthorizedRoute, SignedIn
from paploss.controller.api.security.callers import Caller
from paploss.controller.api.services import Injected
from paploss.controller.api.views import delivery_summary, subscription_summary
from paploss.controller.notifications.addresses import is_allowed
from paploss.controller.notifications.senders import DeliveryError, refuse_mail
from paploss.controller.settings import Settings
from paploss.controller.store.database import Session
from paploss.controller.store.notifications import deliveries, subscriptions

router = APIRouter(route_class=AuthorizedRoute, prefix="/api/v1/subscriptions", tags=["subscriptions"])


@router.post("", status_code=status.HTTP_201_CREATED, responses=problems.documented(404, 409))
def create(request: SubscriptionRequest, caller: SignedIn, services: Injected) -> NewSubscription:
    """Ask to be told of one experiment, or of all that you see. A webhook's secret is shown in this reply alone.
    Addresses that are not public are refused, here or when a delivery is made, unless the operator allows them."""
    _refuse_target(request, services.settings)
    with services.database.write() as session:
        made = subscriptions.add_subscription(session, request, caller.name, caller.project)
        return NewSubscription(**subscription_summary(made).model_dump(), secret=made.secret)


@router.get("")
def list_all(services: Injected) -> Page[SubscriptionSummary]:
    """All subscriptions of your project on one page, the newest first; of a URL the host alone."""
    with services.database.read() as session:
        last = deliveries.last_deliveries(session)
        found = subscriptions.list_subscriptions(session)
        return Page(items=[subscription_summary(row, last.get(row.id)) for row in found])


@router.delete("/{subscription_id}", status_code=status.HTTP_204_NO_CONTENT, responses=problems.documented(404))
def delete(subscription_id: SubscriptionId, caller: SignedIn, services: Injected) -> None:
    """Delete a subscription of one's own, or as an administrator any; what waits to be delivered is not sent."""
    with services.database.write() as session:
        _refuse_others(session, subscription_id, caller)
        subscriptions.delete_subscription(session, subscription_id)


@router.post("/{subscription_id}/pause", responses=problems.documented(404))
def pause(subscription_id: SubscriptionId, caller: SignedIn, services: Injected) -> SubscriptionSummary:
    """Tell nothing to a subscription of one's own until it is resumed; what happens meanwhile is not told later."""
    with services.database.write() as session:
        _refuse_others(session, subscription_id, caller)
        return subscription_summary(subscriptions.pause_subscription(session, subscription_id))


@router.post("/{subscription_id}/resume", responses=problems.documented(404))
def resume(subscription_id: SubscriptionId, caller: SignedIn, services: Injected) -> SubscriptionSummary:
    """Resume a subscription after a pause."""
    with services.database.write() as session:
        _refuse_others(session, subscription_id, caller)
        return subscription_summary(subscriptions.resume_subscription(session, subscription_id))


@router.post("/{subscription_id}/test", status_code=status.HTTP_202_ACCEPTED, responses=problems.documented(404, 409))
def test(subscription_id: SubscriptionId, caller: SignedIn, services: Injected) -> DeliverySummary:
    """Have a test delivered to a subscription of one's own; its deliveries tell what came of it."""
    with services.database.write() as session:
        _refuse_others(session, subscription_id, caller)
        return delivery_summary(subscriptions.try_subscription(session, subscription_id))


@router.get("/{subscription_id}/deliveries", responses=problems.documented(404))
def list_deliveries(subscription_id: SubscriptionId, services: Injected) -> Page[DeliverySummary]:
    """The newest 200 deliveries, the newest first, with the error of the last attempt."""
    with services.database.read() as session:
        return Page(items=[delivery_summary(row) for row in deliveries.list_deliveries(session, subscription_id)])


def may_change(caller: Caller, owner: str) -> bool:
    """Whether the caller may try, pause and delete a subscription of this owner."""
    return caller.role == "admin" or (caller.role in EDITORS and caller.name == owner)


def _refuse_others(session: Session, subscription_id: str, caller: Caller) -> None:
    owner = subscriptions.get_subscription(session, subscription_id).owner
    if not may_change(caller, owner):
        raise ProblemError(403, f"subscription {subscription_id} belongs to {owner!r}, not to {caller.name!r}")


def _refuse_target(request: SubscriptionRequest, settings: Settings) -> None:
    """Refuse at once what every attempt would be refused; a name is resolved when a delivery is made."""
    try:
        if request.channel == "mail":
            refuse_mail(settings, request.target)
        elif not _is_name(host := urlsplit(request.target).hostname or "") and not is_allowed(
            ip_address(host), settings.notify_networks
        ):
            raise DeliveryError(f"{host} is not a public address; notify_networks allows others")
    except DeliveryError as error:
        message = str(error)
        raise ProblemError(422, message, errors=[field_error("body", ["target"], message)]) from None


def _is_name(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return True
    return False
