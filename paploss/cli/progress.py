"""What people see while a search runs: bars and rounds on a terminal, lines anywhere else."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from paploss.cli.output import plain
from paploss.client.loss_choice import called
from paploss.client.models import Best, ExperimentDetail, RoundSummary, TrialSummary
from paploss.client.numbers import confirmed, percent
from paploss.jobs.wording import duration

_SHOWN_ROUNDS = 12
_SHOWN_TRIALS = 8


class SearchProgress:
    """Shows one search until it has ended. Use as a context manager; call `update` as news come."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=False) if console.is_terminal else None
        self._printed_rounds = 0
        self._printed_stage = ""
        self._printed_tenths = 0
        self._printed_failed = 0

    def __enter__(self) -> "SearchProgress":
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._live:
            self._live.stop()

    def update(self, search: ExperimentDetail, rounds: Sequence[RoundSummary], running: Sequence[TrialSummary]) -> None:
        """Show the present state."""
        if self._live:
            self._live.update(render(search, rounds, running), refresh=True)
        else:
            self._print_news(search, rounds)

    def say(self, text: str) -> None:
        """Print a line that stays."""
        self._console.print(text)

    def _print_news(self, search: ExperimentDetail, rounds: Sequence[RoundSummary]) -> None:
        closed = [row for row in rounds if row.closed_at is not None]
        for row in closed[self._printed_rounds :]:
            self.say(
                f"round {row.number + 1}/{search.rounds}: mean {search.metric} {percent(row.mean_reward)}, "
                f"best {percent(row.best_reward)} of {row.rewards} trials; best so far {percent(search.best_ap)}"
            )
        self._printed_rounds = len(closed)
        done = f"{search.trials_final} of {search.trials_planned} trials done"
        if (failed := search.trials.get("failed", 0)) > self._printed_failed:
            self._printed_failed = failed
            self.say(f"{done}, {failed} of them failed; `paploss show {search.id}` and the page say why")
        tenths = 10 * search.trials_final // max(1, search.trials_planned)
        if tenths > self._printed_tenths:
            self._printed_tenths = tenths
            left = "" if search.seconds_left is None else f", {duration(search.seconds_left)} left"
            self.say(done + left)
        if search.stage != self._printed_stage:
            self._printed_stage = search.stage
            self.say(f"stage: {search.stage}, {done}")


def render(search: ExperimentDetail, rounds: Sequence[RoundSummary], running: Sequence[TrialSummary]) -> RenderableType:
    """The whole picture of a running search."""
    parts: list[RenderableType] = []
    closed = [row for row in rounds if row.closed_at is not None]
    if closed:
        parts.append(rounds_table(closed[-_SHOWN_ROUNDS:], search.metric))
    bars = Table.grid(padding=(0, 2))
    for trial in running[:_SHOWN_TRIALS]:
        done, total = trial.iteration, trial.total_iterations
        bars.add_row(
            f"  trial {trial.number}",
            ProgressBar(total or 1, done if total else 0, width=30),
            f"{done}/{total or '?'}",
            Text(plain(trial.worker or ""), style="dim"),
        )
    parts.append(bars)
    line = Table.grid(padding=(0, 2))
    line.add_row(
        Text(plain(f"{search.name or search.id} ({search.state}, {search.stage})"), style="bold"),
        ProgressBar(max(search.trials_planned, 1), search.trials_final, width=40),
        f"{search.trials_final}/{search.trials_planned} trials",
        Text(plain(f"best {search.metric} {percent(search.best_ap)}"), style="bold green"),
        f"{duration(search.seconds_left)} left",
    )
    parts.append(line)
    return Group(*parts)


def rounds_table(rounds: Sequence[RoundSummary], metric: str) -> Table:
    heads = ("round", "trials", f"mean {metric}", f"best {metric}", "spread")
    table = Table(*heads, box=None, header_style="dim", padding=(0, 2))
    for row in rounds:
        table.add_row(
            str(row.number + 1),
            str(row.rewards),
            percent(row.mean_reward),
            percent(row.best_reward),
            "–" if row.spread is None else f"{row.spread:.3f}",
        )
    return table


def conclusion(best: Best) -> list[str]:
    """What came out, in lines for people."""
    report = best.report
    if report is None:
        return [f"best {best.metric} {percent(best.ap)} ({called(best.source)}, one training; not confirmed)"]
    lines = [f"best {best.metric} {_measured(report, report['count'])}  ({called(best.source)})"]
    for label, text in (("identity", "identity start"), ("published", "published set")):
        measured = report.get(label)
        if measured and measured["mean"] is not None:
            lines.append(f"{text} {best.metric} {_measured(measured, len(measured['rewards']))}")
    if verdict := report.get("verdict"):
        lines.append(plain(verdict["sentence"]))
    return lines


def _measured(report: Mapping[str, Any], count: int) -> str:
    return f"{confirmed(report)}, {'mean ± sd of ' if count > 1 else ''}{count} fresh seed{'s' if count != 1 else ''}"
