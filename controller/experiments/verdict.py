"""From a race of losses to the sentence that it ends with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from paploss.client.numbers import difference
from paploss.client.verdict import Margin, Verdict
from paploss.controller.search.race import Lead, Standing
from paploss.jobs.wording import counted

_MOST_SEEDS_TOLD: Final = 200
"""A greater estimate says only that the losses are alike."""


def deliver(standing: Standing, seeds: int, metric: str = "AP", names: Mapping[str, str] | None = None) -> Verdict:
    """The verdict on a race.

    Args:
        standing: the race after its last look.
        seeds: that it has had.
        metric: what the race measured.
        names: what people call a label, where it is not the label.
    """
    return Verdict(
        use=standing.leader,
        is_decided=standing.is_decided,
        seeds=seeds,
        more_seeds=standing.more_seeds,
        margins=tuple(Margin(**vars(lead)) for lead in standing.leads),
        sentence=_Sentence(metric, names or {}).tell(standing, seeds),
    )


@dataclass(frozen=True)
class _Sentence:
    metric: str
    names: Mapping[str, str]

    def tell(self, standing: Standing, seeds: int) -> str:
        leader = self.names.get(standing.leader, standing.leader)
        beaten = [self._tell_lead(lead) for lead in standing.leads if lead.is_decided]
        open_leads = [self._tell_lead(lead) for lead in standing.leads if not lead.is_decided]
        over = f"over {counted(seeds, 'common seed')}"
        better = f"better than {_join(beaten)}" if beaten else ""
        alike = f"it need not be told apart from {_join(open_leads)}" if open_leads else ""
        if standing.is_decided:
            return "; ".join(part for part in (f"Use {leader}: {better or 'alone'} {over}", alike) if part) + "."
        level = [self._tell_level(lead) for lead in standing.leads if not lead.is_decided and lead.mean == 0]
        ahead = [self._tell_lead(lead) for lead in standing.leads if not lead.is_decided and lead.mean != 0]
        places = [f"{how} {_join(names)}" for how, names in (("ahead of", ahead), ("level with", level)) if names]
        told = [f"Not decided {over}: {leader} is {' and '.join(places)}", better]
        return "; ".join(part for part in (*told, _tell_more(standing.more_seeds)) if part) + "."

    def _tell_lead(self, lead: Lead) -> str:
        ahead, _, interval = difference(lead.mean, lead.interval).partition(" ")
        told = f"{self.names.get(lead.label, lead.label)} by {ahead.removeprefix('+')} {self.metric}"
        return f"{told} {interval}" if interval else told

    def _tell_level(self, lead: Lead) -> str:
        name, (_, _, interval) = self.names.get(lead.label, lead.label), difference(0.0, lead.interval).partition(" ")
        return f"{name} {interval}" if interval else name


def _tell_more(more_seeds: int | None) -> str:
    if more_seeds is None:
        return "how many more seeds it would take cannot be told from these"
    if more_seeds > _MOST_SEEDS_TOLD:
        return f"it would take more than {_MOST_SEEDS_TOLD} more seeds"
    return f"it would take about {counted(more_seeds, 'more seed')}"


def _join(texts: Sequence[str]) -> str:
    *others, last = texts
    return f"{', '.join(others)} and {last}" if others else last
