"""/metrics for Prometheus: read from the database at each scrape, so that nothing is lost by a restart.

Every replica reports the same numbers (but for its own process's), so queries take `max by (...)`, not `sum`. Names of
searches are not public: a scrape carries the key of a viewer, as `Authorization: Bearer KEY`. In a ServiceMonitor
that is `endpoints[].authorization.credentials` with the name and key of a Secret, in Prometheus's own configuration
`authorization: {credentials_file: FILE}`.

Labels are bounded: states and outcomes are fixed, profiles and resource classes are the operator's, searches are the
newest SEARCHES that run.
"""

from collections.abc import Iterator
from typing import get_args

from fastapi import APIRouter, Response
from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from paploss.client.notifications import DeliveryState
from paploss.client.states import ExperimentState, Outcome, TrialState
from paploss.controller.api.rest.health import check_readiness, program_version
from paploss.controller.api.security.access import AuthorizedRoute
from paploss.controller.api.services import Injected, Services
from paploss.controller.api.workers import measure_fleet
from paploss.controller.store.notifications.deliveries import count_deliveries
from paploss.controller.store.reading import lists, statistics
from paploss.controller.store.trials import tallies

router = APIRouter(route_class=AuthorizedRoute, include_in_schema=False)

SEARCHES = 50
NAME_LENGTH = 60


@router.get("/metrics")
def show_metrics(services: Injected) -> Response:
    """The metrics, in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(_Platform(services))
    ProcessCollector(registry=registry)
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


class _Platform(Collector):
    def __init__(self, services: Services) -> None:
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Every metric, in the order of docs/reference/metrics.md."""
        yield InfoMetricFamily("paploss", "The controller.", {"version": program_version()})
        ready = _gauge("paploss_ready", "Whether a part works: 1 or 0; workers: elastic ones can start.", "part")
        for check in check_readiness(self._services).checks:
            ready.add_metric([check.name], check.ok)
        yield ready
        yield _plain(
            "paploss_leader", "Whether this replica drives the searches: 1 or 0.", float(self._services.driver.leads)
        )
        yield from self._read_database()
        yield from self._read_fleet()

    def _read_database(self) -> Iterator[Metric]:
        lease_seconds = self._services.settings.lease_seconds
        with self._services.database.read() as session:
            experiments, trials = lists.count_experiments(session), tallies.count_live_trials(session)
            yield _counts(
                "paploss_experiments",
                "Experiments by state.",
                {state: experiments.get(state, 0) for state in get_args(ExperimentState)},
                "state",
            )
            yield _counts(
                "paploss_trials",
                "Trials of running and paused experiments by state.",
                {state: trials.get(state, 0) for state in get_args(TrialState)},
                "state",
            )
            queued = {str(gpus): count for gpus, count in statistics.count_queued(session).items()}
            yield _counts(
                "paploss_queue_depth",
                "Trials of running experiments that wait for a worker, by GPUs per trial.",
                queued or {"0": 0},
                "gpus",
            )
            yield _plain(
                "paploss_oldest_lease_age_seconds",
                "Time since the running trial that has been silent for the longest renewed its lease; 0 if none runs.",
                statistics.read_oldest_lease_age(session, lease_seconds),
            )
            totals = tallies.read_totals(session)
            attempts = CounterMetricFamily("paploss_attempts", "Attempts that ended, by outcome.", labels=["outcome"])
            for outcome in get_args(Outcome):
                attempts.add_metric([outcome], sum(each.attempts.get(outcome, 0) for each in totals.values()))
            yield attempts
            deliveries = count_deliveries(session)
            yield _counts(
                "paploss_deliveries",
                "Notifications in the outbox and its log, by state.",
                {state: deliveries.get(state, 0) for state in get_args(DeliveryState)},
                "state",
            )
            durations = HistogramMetricFamily(
                "paploss_proxy_duration_seconds",
                "Training and evaluation of proxies with a reward, over all their attempts, by profile.",
                labels=["profile"],
            )
            bounds = [str(float(bound)) for bound in tallies.DURATION_BOUNDS_SECONDS]
            for profile, total in totals.items():
                if total.proxies:
                    buckets = [*zip(bounds, total.proxies_within, strict=True), ("+Inf", total.proxies)]
                    durations.add_metric([profile], buckets, total.proxy_seconds)
            yield durations
            best = _gauge(
                "paploss_search_best_reward",
                f"Best single reward (of the search's metric, a fraction) of the newest {SEARCHES} running searches.",
                "search",
                "name",
                "profile",
            )
            for search in statistics.read_best_rewards(session, SEARCHES):
                if search.reward is not None:
                    best.add_metric([search.experiment_id, search.name[:NAME_LENGTH], search.profile], search.reward)
            yield best

    def _read_fleet(self) -> Iterator[Metric]:
        fleet = measure_fleet(self._services)
        activities = {"busy": fleet.busy, "idle": fleet.live - fleet.busy}
        yield _counts("paploss_workers", "Live workers by what they do.", activities, "activity")
        yield _plain("paploss_gpus", "GPUs of live workers.", fleet.gpus)
        yield _plain("paploss_gpus_busy", "GPUs of workers that run a trial.", fleet.gpus_busy)


def _gauge(name: str, meaning: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, labels=list(labels))


def _plain(name: str, meaning: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, meaning, value=value)


def _counts(name: str, meaning: str, counts: dict[str, int], label: str) -> GaugeMetricFamily:
    metric = _gauge(name, meaning, label)
    for value, count in counts.items():
        metric.add_metric([value], count)
    return metric
