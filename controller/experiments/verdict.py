"""From a race of losses to the sentence that it ends with."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from paploss.client.numbers import difference
from paploss.client.verdict import Margin, Verdict
from paploss.controller.search.race import Lead, Standing
from paploss.jobs.wording import counted

_MOST_SEEDS_NAMED: Final = 200
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
        margins=tuple(Margin(is_decided=lead.is_decided, **vars(lead)) for lead in standing.leads),
        sentence=_Sentence(metric, names or {}).write(standing, seeds),
    )


@dataclass(frozen=True)
class _Sentence:
    metric: str
    names: Mapping[str, str]

    def write(self, standing: Standing, seeds: int) -> str:
        leader, total = self._name(standing.leader), f"over {counted(seeds, 'common seed')}"
        beaten = [lead for lead in standing.leads if _is_behind(lead)]
        left = [lead for lead in standing.leads if lead.is_decided and not _is_behind(lead)]
        open_leads = [lead for lead in standing.leads if not lead.is_decided]
        # Where trainings were lost, the best over all pairs may be behind in one of them, or have no seed in common.
        places = [
            self._group_leads("ahead", "of", [lead for lead in open_leads if lead.mean > 0], {seeds: ""}),
            self._group_leads("level", "with", [lead for lead in open_leads if lead.mean == 0], {seeds: ""}),
            self._group_leads("behind", "", [lead for lead in open_leads if lead.mean < 0], {seeds: ""}),
        ]
        if standing.is_decided:
            better = self._group_leads("better", "than", beaten, {seeds: total}) if beaten or left else f"alone {total}"
            alike = f"it is {_and(places)}, which need not be decided" if open_leads else ""
            use = f"Use {leader}: {better}" if better else f"Use {leader}"
            return "; ".join(part for part in (use, self._describe_left(left), alike) if part) + "."
        compared = {lead.label for lead in standing.leads} | {standing.leader}
        apart = [self._name(label) for label in standing.remaining if label not in compared]
        places.append(f"without a seed in common with {_join(apart)}" if apart else "")
        parts = (
            f"Not decided {total}: {leader} is {_and(places)}",
            self._group_leads("better", "than", beaten, {seeds: ""}),
            self._describe_left(left),
            _describe_more(standing.more_seeds),
        )
        return "; ".join(filter(None, parts)) + "."

    def _group_leads(self, how: str, preposition: str, leads: Sequence[Lead], suffixes: Mapping[int, str]) -> str:
        """Those over equally many seeds together, from the most on; `suffixes`: what is said of a number of seeds."""
        groups = []
        for count, group in groupby(sorted(leads, key=lambda lead: -lead.seeds), lambda lead: lead.seeds):
            over = suffixes.get(count, f"over {counted(count, 'seed')}")
            groups.append(f"{preposition} {_join([self._describe_lead(lead) for lead in group])} {over}".strip())
        return f"{how} {', '.join(groups)}" if groups else ""

    def _describe_left(self, leads: Sequence[Lead]) -> str:
        """Losses that another one than the leader has beaten, and that the leader itself is not known to be above."""

        def how(lead: Lead) -> tuple[int, str]:
            return -lead.seeds, self._name(lead.beaten_by or "")

        groups = [
            f"{_join([self._name(lead.label) for lead in group])} left after {counted(-less, 'seed')}, beaten by {by}"
            for (less, by), group in groupby(sorted(leads, key=how), how)
        ]
        return "; ".join(groups)

    def _describe_lead(self, lead: Lead) -> str:
        ahead, _, interval = difference(lead.mean, lead.interval).partition(" ")
        by = f"by {ahead.lstrip('+-')} {self.metric}" if lead.mean else ""
        return " ".join(filter(None, (self._name(lead.label), by, interval)))

    def _name(self, label: str) -> str:
        return self.names.get(label, label)


def _and(parts: Iterable[str]) -> str:
    return " and ".join(filter(None, parts))


def _is_behind(lead: Lead) -> bool:
    """Whether it has left, and the leader is better than it by the race's own measure."""
    return lead.is_decided and lead.interval is not None and lead.interval[0] > 0


def _describe_more(more_seeds: int | None) -> str:
    if more_seeds is None:
        return "how many more seeds it would take cannot be estimated from these"
    if more_seeds > _MOST_SEEDS_NAMED:
        return f"it would take more than {_MOST_SEEDS_NAMED} more seeds"
    return f"it would take about {counted(more_seeds, 'more seed')}"


def _join(texts: Sequence[str]) -> str:
    *others, last = texts
    return f"{', '.join(others)} and {last}" if others else last
