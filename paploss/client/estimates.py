"""What a search will cost, told before it starts."""

from math import ceil

from pydantic import Field

from paploss.client.loss_choice import PUBLISHED
from paploss.client.specs import PILOT_LOSSES, PILOT_SEEDS, RATE_FACTORS, SearchSpec
from paploss.jobs.messages import Message
from paploss.jobs.spec import Count, Seconds

WORKERS = (1, 2, 4, 8, 16, 32, 64)
_ROUNDING = 1e-9
"""What a whole number of trainings may lack by rounding."""


class Estimate(Message):
    """The cost of a search if no trial fails and none is pruned."""

    proxies: Count = Field(description="trainings of its rounds")
    whole_proxies: float = Field(0.0, ge=0, description="what they cost together, in trainings of the whole length")
    pilot: Count = Field(0, description="trainings before the first round; second seeds of rates not counted")
    confirmations: Count = Field(
        description="trainings at its end, up to the first look at the race; second seeds of rates not counted"
    )
    most_confirmations: Count = Field(0, description="the same where no loss leaves the race before its last look")
    gpus: Count = Field(description="of one training")
    proxy_seconds: Seconds | None = Field(description="of one proxy on one worker; null where nothing is known of it")
    trials: Count = Field(0, description="how many earlier trials that is the mean of; 0: measured in a few steps")
    worker_hours: float | None = Field(
        ge=0,
        description="of all these trainings, with `confirmations`; of the rounds what their budget allows, if less",
    )
    most_worker_hours: float | None = Field(None, ge=0, description="the same with `most_confirmations`")
    has_confirmations: bool = Field(
        True, description="whether hours count the confirmations: not with a schedule of their own, of unknown length"
    )
    hours_by_workers: dict[int, float] = Field(
        max_length=len(WORKERS), description="from start to end of `worker_hours`, by workers"
    )
    is_capped: bool = Field(description="whether the request's worker_hours will end it before its last round")

    @property
    def has_lengths(self) -> bool:
        """Whether trainings have several lengths."""
        return self.whole_proxies < self.proxies

    @property
    def gpu_hours(self) -> float | None:
        """As worker_hours; 0 where a training needs no GPU."""
        return None if self.worker_hours is None else self.worker_hours * self.gpus

    @property
    def most_gpu_hours(self) -> float | None:
        """As most_worker_hours."""
        return None if self.most_worker_hours is None else self.most_worker_hours * self.gpus


def count_pilot(spec: SearchSpec) -> int:
    """Trainings before the first round: rates of the rivals and of where the search starts, then further seeds.

    Those with a second seed at a rate that is ahead of the profile's are not known before.
    """
    if not spec.has_pilot:
        return 0
    losses = len(spec.pilot_losses)
    return len(RATE_FACTORS) * losses + PILOT_SEEDS * min(PILOT_LOSSES, losses)


def count_raced(spec: SearchSpec) -> int:
    """Losses in the race at the end: candidates, the identity, rivals, and the published set where it is asked for."""
    is_baseline = spec.confirm.published and PUBLISHED not in spec.rivals
    return spec.confirm.candidates + 1 + is_baseline + len(spec.rivals)


def count_confirmations(spec: SearchSpec, seeds: int | None = None) -> int:
    """Trainings at the end: the rivals' checks of rates, where no pilot has made them, and the race.

    Up to its first look, or of all losses with so many seeds.
    """
    checks = 0 if spec.has_pilot else len(RATE_FACTORS) * len(spec.rivals)
    return checks + count_raced(spec) * (seeds or spec.confirm.seeds)


def estimate_search(spec: SearchSpec, proxy_seconds: float | None, trials: int = 0) -> Estimate:
    """The cost of a search from the duration of one proxy of the whole length.

    Confirmations are taken to be as long as proxies: with `confirm.schedule: final` their length is not known, and they
    are left out of the hours. Trainings of several lengths (`lengths`) count by what each of them adds.
    """
    losses = spec.rounds * spec.trials_per_round
    confirmations, most_confirmations = count_confirmations(spec), count_confirmations(spec, spec.most_seeds)
    whole = float(losses) if spec.lengths is None else spec.lengths.measure(losses)
    affordable = whole
    if proxy_seconds and spec.worker_hours is not None:
        affordable = 3600 * spec.worker_hours / proxy_seconds
    is_capped = affordable < whole
    share = affordable / whole if is_capped else 1.0
    first = count_pilot(spec)
    last, most = (confirmations, most_confirmations) if spec.confirm.schedule == "proxy" else (0, 0)
    hours = None if proxy_seconds is None else proxy_seconds / 3600
    planned = int(affordable + _ROUNDING) if is_capped else whole

    def count_turns(workers: int) -> int:
        """How often after one another each worker trains: in `round` mode all wait at the end of each round."""
        together = spec.trials_per_round if spec.mode == "round" else planned
        rounds, rest = divmod(planned, together) if together else (0, 0)
        in_rounds = int(rounds) * ceil(together / workers) + ceil(rest / workers)
        return ceil(first / workers) + in_rounds + ceil(last / workers)

    return Estimate(
        proxies=int(share * spec.proxies + _ROUNDING),
        whole_proxies=planned,
        pilot=first,
        confirmations=confirmations,
        most_confirmations=most_confirmations,
        gpus=spec.trial_gpus,
        proxy_seconds=proxy_seconds,
        trials=trials,
        worker_hours=None if hours is None else hours * (first + planned + last),
        most_worker_hours=None if hours is None else hours * (first + planned + most),
        hours_by_workers={} if hours is None else {each: hours * count_turns(each) for each in WORKERS},
        has_confirmations=spec.confirm.schedule == "proxy",
        is_capped=is_capped,
    )
