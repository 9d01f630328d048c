"""The whole story of a search as one HTML file that needs nothing else, and its figures as PNGs.

Everything comes through the client: whoever may look at a search can report on it. The figures are the page's. The
report is light whatever the reader's colours, since it is printed and put into appendices.
"""

import base64
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

import yaml

from paploss.client.detections import Detections
from paploss.client.documents import SPEC
from paploss.client.models import (
    Best,
    ExperimentDetail,
    Figure,
    LogLine,
    RoundSummary,
    TrialDetail,
    TrialSummary,
)
from paploss.client.sync_client import ApiError, Client
from paploss.controller.web.facts import RequestFacts
from paploss.controller.web.render import Pages

MOST_TRIALS = 500
"""Rows of the table of trials; of a longer search the best are shown."""
MOST_LOG_LINES = 500
MOST_DETAILS = 12
"""Trials that are asked for their attempts, to learn where and with what the search ran."""
WIDTH_PX = {"functions": 1180}
USUAL_WIDTH_PX = 900
PNG_SCALE = 2

_PLOTLY = Path(str(files("plotly"))) / "package_data" / "plotly.min.js"
_STATIC = Path(str(files("paploss.controller.web"))) / "static"


class ImagesError(Exception):
    """PNGs cannot be drawn here; one line for people."""


@dataclass(frozen=True)
class Drawn:
    """One figure with what is said about it."""

    name: str
    """Unique in the report, and the name of the PNG."""
    title: str
    note: str
    figure: Figure


@dataclass(frozen=True)
class FailedTrials:
    """Trials that failed, or attempts that did, for one reason."""

    kind: str
    reason: str
    trials: int
    example: TrialSummary


@dataclass(frozen=True)
class Story:
    """What a report tells."""

    search: ExperimentDetail
    best: Best | None
    rounds: Sequence[RoundSummary]
    trials: Sequence[TrialSummary]
    log: Sequence[LogLine]
    figures: Sequence[Drawn]
    detections: Detections | None
    """Of the two best of the confirmed losses."""
    thumbnails: Mapping[str | None, str]
    """Of their pictures, by digest, as addresses that hold them."""
    environment: Mapping[str, Sequence[str]]
    """What the trainings ran with: names, and the values that were met."""

    @property
    def specification(self) -> str:
        """What was asked for, as a file that `paploss search` takes."""
        return yaml.safe_dump(SPEC.read(self.search.spec).model_dump(mode="json", exclude_none=True), sort_keys=False)

    @property
    def shown_trials(self) -> Sequence[TrialSummary]:
        """All trials by number, or the best MOST_TRIALS of them."""
        if len(self.trials) <= MOST_TRIALS:
            return self.trials
        return sorted(self.trials, key=_by_reward)[:MOST_TRIALS]

    @property
    def failures(self) -> Sequence[FailedTrials]:
        """Reasons of what failed, the most frequent first."""
        failed = [trial for trial in self.trials if trial.error_kind is not None]
        keys = {trial.id: (trial.error_kind or "", _last_line(trial.error or "")) for trial in failed}
        counts = Counter(keys.values())
        examples = {keys[trial.id]: trial for trial in reversed(failed)}
        return [FailedTrials(*key, trials=count, example=examples[key]) for key, count in counts.most_common()]


def gather(client: Client, experiment_id: str) -> Story:
    """Read all that a report tells.

    Raises:
        ClientError: as of the client; 404 for an unknown search.
    """
    search = client.get_experiment(experiment_id)
    trials = list(client.trials(experiment_id))
    best = client.best(experiment_id) if search.best_ap is not None else None
    of_interest = sorted((t for t in trials if t.reward is not None), key=lambda t: (t.kind == "proxy", *_by_reward(t)))
    details = [client.get_trial(trial.id) for trial in of_interest[:MOST_DETAILS]]
    detections = _read_detections(client, experiment_id)
    top = min(
        (t for t in trials if t.kind == "proxy" and t.reward is not None and t.length == 1),
        key=_by_reward,
        default=None,
    )
    return Story(
        search=search,
        best=best,
        rounds=list(client.rounds(experiment_id)),
        trials=trials,
        log=list(client.log(experiment_id))[-MOST_LOG_LINES:],
        figures=_draw(client, search, best, top),
        detections=detections,
        thumbnails={} if detections is None else _read_thumbnails(client, experiment_id, detections),
        environment=_environment(details),
    )


def _read_detections(client: Client, experiment_id: str) -> Detections | None:
    try:
        return client.detections(experiment_id)
    except ApiError as error:
        if error.status != 404:  # nothing was analysed, or the controller is older
            raise
        return None


def _read_thumbnails(client: Client, experiment_id: str, detections: Detections) -> dict[str | None, str]:
    digests = {one.thumbnail for loss in detections.losses for one in loss.pictures if one.thumbnail}
    return {
        digest: f"data:image/jpeg;base64,{base64.b64encode(client.thumbnail(experiment_id, digest)).decode()}"
        for digest in sorted(digests)
    }


def render(story: Story) -> str:
    """The report as HTML."""
    style = (_STATIC / "page.css").read_text("utf-8").replace("(prefers-color-scheme: dark)", "not all")
    return Pages(str).render(
        "report.html",
        story=story,
        search=story.search,
        request=RequestFacts.of(story.search.spec),
        best=story.best,
        style=style,
        plotly=_PLOTLY.read_text("utf-8"),
        pictures_script=(_STATIC / "pictures.js").read_text("utf-8"),
        figures={drawn.name: _script_json(drawn.figure) for drawn in story.figures},
    )


def write_images(figures: Sequence[Drawn], folder: Path) -> list[Path]:
    """Draw each figure as a PNG, by kaleido in a Chromium of this machine (BROWSER_PATH names it).

    Raises:
        ImagesError: kaleido or a browser is missing.
        OSError: the folder cannot be written to.
    """
    try:
        import kaleido  # noqa: PLC0415 (an extra)
        from choreographer.errors import ChromeNotFoundError  # noqa: PLC0415
    except ImportError as error:
        raise ImagesError("PNGs are drawn by kaleido: install paploss[report]") from error
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{drawn.name}.png" for drawn in figures]
    orders = []
    for drawn, path in zip(figures, paths, strict=True):
        layout = drawn.figure["layout"] | {"paper_bgcolor": "#ffffff"}
        width_px = WIDTH_PX.get(drawn.name.partition("-")[0], USUAL_WIDTH_PX)
        size = {"format": "png", "width": width_px, "height": layout.get("height", 400), "scale": PNG_SCALE}
        orders.append({"fig": drawn.figure | {"layout": layout}, "path": str(path), "opts": size})
    page = kaleido.PageGenerator(plotly=_PLOTLY.as_uri(), mathjax=False)  # else MathJax is fetched from elsewhere
    try:
        kaleido.write_fig_from_object_sync(orders, kopts={"page_generator": page})
    except ChromeNotFoundError as error:
        raise ImagesError("PNGs need a Chromium or Chrome: install one, or name it in BROWSER_PATH") from error
    return paths


def _draw(client: Client, search: ExperimentDetail, best: Best | None, top: TrialSummary | None) -> list[Drawn]:
    """The figures that there is something to draw for."""
    drawn = [
        Drawn(
            "rewards",
            "Reward per round",
            f"Every trial is a dot: {search.metric} on the search validation split.",
            client.figure(search.id, "rewards"),
        )
    ]
    for head, loss in best.loss.head_losses.items() if best else ():
        title = "Best loss" + (f": {head}" if best and len(best.loss.head_losses) > 1 else "")
        note = f"{loss.summary[0].upper()}{loss.summary[1:]}."
        if best and best.learning_rate_factor != 1:
            note += f" Learning rate times {best.learning_rate_factor:.3g}."
        drawn.append(Drawn(f"functions-{head}", title, note, client.figure(search.id, "functions", head=head)))
    for name, title, note in (
        (
            "policy",
            "How the distribution moved",
            "Its centre in each dimension against the start, by version; its spread above.",
        ),
        ("importance", "Which dimensions matter", "Grey: what chance alone would show, 95 %."),
        ("error_costs", "Which errors cost AP50", "Of the two best confirmed losses, by TIDE's kinds."),
        ("precision_recall", "Precision by recall", "Of the two best confirmed losses."),
        (
            "gpus",
            f"{'GPU use' if search.gpus else 'Use of the workers'} over time",
            "Of the workers that this search has had.",
        ),
    ):
        try:
            drawn.append(Drawn(name, title, note, client.figure(search.id, name)))  # type: ignore[arg-type]
        except ApiError as error:
            if error.status != 404:  # nothing to draw yet
                raise
    if top is not None:
        figure = client.trial_figure(top.id, "learning")
        drawn.append(Drawn("learning", f"Learning curve of trial {top.number}", "The best single proxy.", figure))
    return drawn


def _environment(details: Sequence[TrialDetail]) -> dict[str, list[str]]:
    found: dict[str, dict[str, None]] = {}  # in order of appearance
    for attempt in (attempt for trial in details for attempt in trial.attempt_list):
        facts = attempt.environment | {"device": attempt.device, "host": attempt.host}
        for name, value in facts.items():
            if value:
                found.setdefault(name, {})[value] = None
    return {name: list(values) for name, values in sorted(found.items())}


def _by_reward(trial: TrialSummary) -> tuple[float, int]:
    return (1.0 if trial.reward is None else -trial.reward, trial.number)


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or [""])[-1][:300]


def _script_json(value: Any) -> str:
    """JSON that may stand in a script element."""
    return json.dumps(value, separators=(",", ":")).replace("<", "\\u003c")
