"""What a search will cost, told before it starts."""

from math import ceil

from pydantic import Field

from paploss.client.loss_choice import PUBLISHED
from paploss.client.specs import PILOT_LOSSES, PILOT_SEEDS, RATE_FACTORS, SearchSpec
from paploss.jobs.messages import Message
from paploss.jobs.spec import Count, Seconds

WORKERS = (1, 2, 4, 8, 16, 32, 64)


class Estimate(Message):
    """The cost of a search if no trial fails and none is pruned."""

    proxies: Count = Field(description="trainings of its rounds")
    whole_proxies: float = Field(0.0, ge=0, description="what they cost together, in trainings of the whole length")
    pilot: Count = Field(0, description="trainings before the first round; second seeds of rates not counted")
    confirmations: Count = Field(
        description="trainings at its end, up to the first look at the race; second seeds of rates not counted"
    )
    gpus: Count = Field(description="of one training")
    proxy_seconds: Seconds | None = Field(description="of one proxy on one worker; null where nothing is known of it")
    trials: Count = Field(0, description="how many earlier trials that is the mean of; 0: measured in a few steps")
    worker_hours: float | None = Field(
        ge=0, description="of all trainings; of the rounds what their budget allows, if less"
    )
    hours_by_workers: dict[int, float] = Field(max_length=len(WORKERS), description="from start to end, by workers")
    is_capped: bool = Field(description="whether the request's worker_hours will end it before its last round")

    @property
    def has_lengths(self) -> bool:
        """Whether trainings have several lengths."""
        return self.whole_proxies < self.proxies

    @property
    def gpu_hours(self) -> float | None:
        """As worker_hours; 0 where a training needs no GPU."""
        return None if self.worker_hours is None else self.worker_hours * self.gpus


def count_pilot(spec: SearchSpec) -> int:
    """Trainings before the first round: rates of the rivals and of where the search starts, then further seeds.

    Those with a second seed at a rate that is ahead of the profile's are not known before.
    """
    if not spec.has_pilot:
        return 0
    losses = len(spec.pilot_losses)
    return len(RATE_FACTORS) * losses + PILOT_SEEDS * min(PILOT_LOSSES, losses)


def count_confirmations(spec: SearchSpec) -> int:
    """Trainings at the end: the rivals' checks of rates, where no pilot has made them, and the race's first look."""
    rivals = spec.rivals
    is_baseline = spec.confirm.published and PUBLISHED not in rivals
    raced = spec.confirm.candidates + 1 + is_baseline + len(rivals)
    checks = 0 if spec.has_pilot else len(RATE_FACTORS) * len(rivals)
    return checks + raced * spec.confirm.seeds


def estimate_search(spec: SearchSpec, proxy_seconds: float | None, trials: int = 0) -> Estimate:
    """The cost of a search from the duration of one proxy of the whole length.

    Confirmations are taken to be as long as proxies: with `confirm.schedule: final` their length is not known, and they
    are left out of the hours. Trainings of several lengths (`lengths`) count by what each of them adds.
    """
    losses, confirmations = spec.rounds * spec.trials_per_round, count_confirmations(spec)
    whole = float(losses) if spec.lengths is None else spec.lengths.measure(losses)
    affordable = whole
    if proxy_seconds and spec.worker_hours is not None:
        affordable = 3600 * spec.worker_hours / proxy_seconds
    is_capped = affordable < whole
    share = affordable / whole if is_capped else 1.0
    rounds = ceil(share * losses / spec.trials_per_round)
    first = count_pilot(spec)
    last = confirmations if spec.confirm.schedule == "proxy" else 0
    hours = None if proxy_seconds is None else proxy_seconds / 3600
    planned = int(affordable) if is_capped else whole

    def count_turns(workers: int) -> int:
        """How often after one another each worker trains: in `round` mode all wait at the end of each round."""
        in_rounds = rounds * ceil(spec.trials_per_round / workers) if spec.mode == "round" else ceil(planned / workers)
        return ceil(first / workers) + in_rounds + ceil(last / workers)

    return Estimate(
        proxies=int(share * spec.proxies + 1e-9),
        whole_proxies=planned,
        pilot=first,
        confirmations=confirmations,
        gpus=spec.trial_gpus,
        proxy_seconds=proxy_seconds,
        trials=trials,
        worker_hours=None if hours is None else hours * (first + planned + last),
        hours_by_workers={} if hours is None else {each: hours * count_turns(each) for each in WORKERS},
        is_capped=is_capped,
    )
