"""Notifications: `paploss subscriptions add | list | remove | pause | resume | test | log`."""

from typing import Annotated

import typer
from pydantic import ValidationError
from rich.table import Table

from paploss.cli.connection import DEFAULT_STATE, JsonOption, KeyFileOption, StateOption, UrlOption, connect
from paploss.cli.failures import BAD_INPUT, CommandError
from paploss.cli.groups import make_group
from paploss.cli.output import echo_json, tell
from paploss.cli.terminal import make_console
from paploss.cli.wording import TIME_ZONE, moment
from paploss.client.notifications import OCCASIONS, Channel, SubscriptionRequest
from paploss.jobs.faults import describe_faults

app = make_group("Who is notified when an experiment ends, fails or stalls.")

IdArgument = Annotated[str, typer.Argument(help="Id of a subscription, as `paploss subscriptions list` shows it.")]


@app.command()
def add(
    target: Annotated[str, typer.Argument(help="URL of a webhook, or with --by mail an address.")],
    *,
    by: Annotated[Channel, typer.Option(help="Signed JSON, a message in Slack or Teams, or mail.")] = "webhook",
    experiment: Annotated[str | None, typer.Option(help="Id of one experiment; by default all.")] = None,
    on: Annotated[
        str, typer.Option(help="Events, separated by commas: ended, failed, stalled, new_best, budget_spent.")
    ] = ",".join(OCCASIONS),
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Subscribe; a webhook's secret is printed and not shown again."""
    given = {"channel": by, "target": target, "experiment_id": experiment, "occasions": on.split(",")}
    try:
        request = SubscriptionRequest.model_validate(given)
    except ValidationError as error:
        raise CommandError(describe_faults(error), BAD_INPUT) from None
    with connect(state, url, key_file) as client:
        made = client.subscribe(request)
    secret = "" if made.secret is None else f"\nsecret: {made.secret}"
    tell(as_json, made, f"subscription {made.id}{secret}")


@app.command("list")
def list_all(
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """All subscriptions; of a URL the host alone, because the rest is a secret."""
    with connect(state, url, key_file) as client:
        found = client.list_subscriptions()
    if as_json:
        echo_json(found)
        return
    table = Table("id", "by", "target", "of", "on", "owner", "last", box=None)
    for each in found:
        on = "all" if set(each.occasions) == set(OCCASIONS) else ", ".join(each.occasions)
        last = "paused" if each.paused_at is not None else each.last_delivery.state if each.last_delivery else "-"
        table.add_row(each.id, each.channel, each.target, each.experiment_id or "all", on, each.owner, last)
    make_console().print(table)


@app.command()
def remove(
    subscription: IdArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Delete a subscription; waiting deliveries are not sent."""
    with connect(state, url, key_file) as client:
        client.unsubscribe(subscription)
    tell(as_json, {"id": subscription, "removed": True}, f"removed {subscription}")


@app.command()
def pause(
    subscription: IdArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Send nothing until it is resumed; what happens meanwhile is not reported later."""
    with connect(state, url, key_file) as client:
        changed = client.pause_subscription(subscription)
    tell(as_json, changed, f"paused {subscription}")


@app.command()
def resume(
    subscription: IdArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Report again what happens from now on."""
    with connect(state, url, key_file) as client:
        changed = client.resume_subscription(subscription)
    tell(as_json, changed, f"resumed {subscription}")


@app.command("test")
def send_test(
    subscription: IdArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """Send a test; `paploss subscriptions log` shows the outcome."""
    with connect(state, url, key_file) as client:
        made = client.test_subscription(subscription)
    tell(as_json, made, f"delivery {made.id}")


@app.command()
def log(
    subscription: IdArgument,
    as_json: JsonOption = False,
    state: StateOption = DEFAULT_STATE,
    url: UrlOption = None,
    key_file: KeyFileOption = None,
) -> None:
    """The deliveries of a subscription, the newest first, with the error of the last attempt."""
    with connect(state, url, key_file) as client:
        found = client.list_deliveries(subscription)
    if as_json:
        echo_json(found)
        return
    table = Table(f"at ({TIME_ZONE})", "occasion", "experiment", "state", "attempts", "error", box=None)
    for each in found:
        created = moment(each.created_at)
        table.add_row(created, each.occasion, each.experiment_id or "", each.state, str(each.attempts), each.error)
    make_console().print(table)
