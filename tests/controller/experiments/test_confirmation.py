"""The end of a search: rivals' rates first, then seeds in steps until the best loss is decided."""

import itertools
from collections.abc import Callable

import numpy as np
import pytest
from scenarios import add_search
from simulation import Platform, metrics
from sqlalchemy import select

from paploss.controller.experiments import confirmation
from paploss.controller.experiments.losses import decode_rate, read_loss
from paploss.controller.store.documents import OUTCOME, SPEC, Outcome
from paploss.controller.store.tables import Event, Experiment, Trial
from paploss.jobs.spec import JobResult

# Above the store statements are the same on both; those that no other test asks are asked on both here too.
pytestmark = pytest.mark.databases("sqlite")

RIVALS = ["focal_giou", "ap_l1"]
RACE = {"candidates": 1, "seeds": 2, "most_seeds": 5, "rivals": RIVALS}


OUT_OF_MEMORY = JobResult(outcome="failed", error_kind="out_of_memory", error="CUDA out of memory")


def race(
    platform: Platform,
    means: dict[str, float],
    *,
    best_rate: float = 2.0,
    fails: Callable[[Trial], bool] = lambda _: False,
    algorithm: str = "ppo",
    profile: str = "synthetic",
    family: str = "functions",
    **confirm: object,
) -> tuple[Experiment, Outcome]:
    """A search whose trials have the AP of `means` by label, else 0.1, with a little noise that the seed and the label
    fix; a proxy's label is that of its confirmation. Rivals are best at the factor `best_rate`."""
    asked = {"rounds": 1, "algorithm": algorithm, "profile": profile, "family": family, "confirm": RACE | confirm}
    search = add_search(platform.database, **asked)
    for _ in range(20):
        platform.driver.tick()
        found = platform.search(search.id)
        if found.state != "running":
            return found, OUTCOME.read(found.best or {})
        while (lease := platform.start()) is not None:
            (trial,) = platform.trials(search, id=lease.trial_id)
            noise = np.random.default_rng((trial.seed, len(trial.label))).normal(0, 0.002)
            reward = means.get(trial.label or f"trial {trial.number}", 0.1) + noise
            if trial.kind == "rate_check":
                reward = 0.2 if trial.learning_rate_factor == best_rate else 0.1
            result = JobResult(outcome="succeeded", reward=reward, metrics=metrics(reward))
            platform.finish(lease, OUT_OF_MEMORY if fails(trial) else result)
    raise AssertionError("the race does not end")


def test_rivals_are_checked_at_each_rate_and_race_at_their_best(platform: Platform) -> None:
    search, outcome = race(platform, {"mean": 0.5})
    checks = platform.trials(search, kind="rate_check")
    assert [trial.learning_rate_factor for trial in checks] == [0.5, 1.0, 2.0] * 2 + [1.0, 2.0] * 2
    seeds = {trial.seed for trial in platform.trials(search, kind="confirm")}
    assert [len({trial.seed for trial in some}) for some in (checks[:6], checks[6:], checks)] == [1, 1, 2]
    assert not {trial.seed for trial in checks} & seeds
    assert [one.learning_rate_factor for one in outcome.rivals] == [2.0, 2.0]
    assert outcome.candidates[0].learning_rate_factor == 1.0


def test_the_check_of_a_rival_starts_at_the_rate_that_its_user_gave(platform: Platform) -> None:
    rivals = [{"loss": {"name": "ap_l1"}, "learning_rate_factor": 4.0}, "focal_giou"]
    search, outcome = race(platform, {"mean": 0.5}, best_rate=1.0, rivals=rivals)
    checks = platform.trials(search, kind="rate_check")
    assert [trial.learning_rate_factor for trial in checks] == [2.0, 4.0, 8.0, 0.5, 1.0, 2.0]
    assert [one.learning_rate_factor for one in outcome.rivals] == [4.0, 1.0]


def test_a_found_loss_races_and_is_exported_at_the_rate_that_it_was_found_at(platform: Platform) -> None:
    confirm = {"candidates": 2, "seeds": 1, "rivals": []}
    found = platform.run(add_search(platform.database, rounds=1, searched_rate=True, confirm=confirm))
    spec, outcome = SPEC.read(found.spec), OUTCOME.read(found.best)
    rates = {one.label: one.learning_rate_factor for one in outcome.candidates}
    raced = {trial.label: trial for trial in platform.trials(found, kind="confirm") if trial.label in rates}
    assert rates == {label: decode_rate(spec, trial.theta or []) for label, trial in raced.items()}
    assert len(set(rates.values()) - {1.0}) == 2
    assert outcome.learning_rate_factor == rates[outcome.label]


def test_a_clear_winner_is_named_with_what_it_is_better_by(platform: Platform) -> None:
    _, outcome = race(platform, {"mean": 0.5})
    verdict = outcome.verdict
    assert verdict is not None
    assert (verdict.use, verdict.is_decided, verdict.more_seeds) == ("mean", True, 0)
    assert verdict.sentence.startswith("Use the found loss (best guess): better than ")
    with platform.database.read() as session:
        (told,) = [event.message for event in session.scalars(select(Event)) if event.kind == "experiment_succeeded"]
    assert told.startswith("best: best guess with AP 50.")
    assert {margin.label for margin in verdict.margins} == {"identity", *(one.label for one in outcome.rivals)}


def test_a_rival_that_wins_is_named_and_the_best_stays_the_found_loss(platform: Platform) -> None:
    label = race(platform, {})[1].rivals[0].label
    _, outcome = race(platform, {label: 0.5, "mean": 0.3})
    assert outcome.verdict is not None
    assert (outcome.verdict.use, outcome.label) == (label, "mean")
    assert outcome.verdict.sentence.startswith(f"Use {label}: better than ")


def test_seeds_are_added_for_those_that_are_not_decided_and_the_end_says_how_many_more_it_would_take(
    platform: Platform,
) -> None:
    label = race(platform, {})[1].rivals[0].label
    search, outcome = race(platform, {label: 0.3, "mean": 0.3001})
    confirms = platform.trials(search, kind="confirm")
    counts = {one: sum(trial.label == one for trial in confirms) for one in (label, "mean", "identity")}
    assert counts[label] == counts["mean"] == 5
    assert counts["identity"] < 5
    assert {trial.learning_rate_factor for trial in confirms if trial.label == label} == {2.0}
    assert "seeds_added" in platform.events(search)
    assert outcome.verdict is not None
    assert not outcome.verdict.is_decided
    assert outcome.verdict.sentence.startswith("Not decided over 5 common seeds: ")
    assert "more seeds" in outcome.verdict.sentence
    trained = [(trial.label, trial.seed) for trial in confirms]
    assert len(set(trained)) == len(trained)


def test_rivals_that_cannot_be_trained_are_left_out_and_end_nothing(platform: Platform) -> None:
    fits = race(platform, {})[1].rivals[0].label
    rivals = [*RIVALS, "focal_l1", "alrp"]
    search, outcome = race(
        platform, {}, fails=lambda trial: trial.kind == "rate_check" and trial.label != fits, rivals=rivals
    )
    failed = platform.trials(search, state="failed")
    assert len(failed) == 3 * 3 > SPEC.read(search.spec).budgets.max_failed_trials
    assert (search.state, [one.label for one in outcome.rivals]) == ("succeeded", [fits])
    with platform.database.read() as session:
        told = [event.message for event in session.scalars(select(Event)) if event.experiment_id == search.id]
    assert any(message.startswith("not raced, for no training at any learning rate") for message in told)


def test_no_loss_races_against_itself(platform: Platform) -> None:
    """The first proxies are the identity and the published set; the best guess from so few is the best of them."""
    search, outcome = race(platform, {}, best_rate=1.0, algorithm="guided", candidates=3, rivals=["published"])
    labels = {trial.label for trial in platform.trials(search, kind="confirm")}
    assert labels >= {"identity", "published", "mean"}
    assert not labels & {"trial 0", "trial 1"}
    spec, entrants = SPEC.read(search.spec), platform.trials(search, kind="confirm", seed=min(outcome.identity.rewards))
    losses = [read_loss(spec, trial.loss, trial.theta) for trial in entrants]
    assert len(losses) == len(labels)
    assert not any(one == other for one, other in itertools.combinations(losses, 2))


@pytest.mark.parametrize(
    ("profile", "family", "rival"),
    [
        ("synthetic", "functions", "published"),
        ("faster-rcnn-tiny", "functions", "published"),
        ("synthetic", "extended", "ap_l1"),
    ],
)
def test_no_known_loss_races_as_a_candidate_beside_itself(
    platform: Platform, profile: str, family: str, rival: str
) -> None:
    """The second proxy of `guided` is one. Its theta gives it another name, or other last bits, than its own."""
    given = {"algorithm": "guided", "profile": profile, "family": family, "rivals": [rival]}
    search, outcome = race(platform, {"trial 1": 0.5}, best_rate=1.0, candidates=3, **given)
    labels = [one.label for one in outcome.candidates]
    assert len(labels) == len(set(labels)) > 1
    raced = platform.trials(search, kind="confirm", seed=min(outcome.identity.rewards))
    (known,) = platform.trials(search, number=1)
    assert known.theta not in [trial.theta for trial in raced]


@pytest.mark.parametrize(
    ("profile", "family", "name"),
    [
        ("synthetic", "functions", "the published set"),
        ("faster-rcnn-tiny", "functions", "the published set"),
        ("synthetic", "extended", "AP Loss + L1"),
    ],
)
def test_a_known_loss_is_not_called_found_where_it_is_the_best_trial(
    platform: Platform, profile: str, family: str, name: str
) -> None:
    """It is the second proxy of `guided`."""
    given = {"algorithm": "guided", "profile": profile, "family": family, "rivals": []}
    _, outcome = race(platform, {"trial 1": 0.5, "mean": 0.5}, candidates=2, **given)
    assert outcome.verdict is not None
    assert outcome.verdict.sentence.startswith(f"Use {name} (")


def test_where_only_known_losses_were_trained_the_race_is_decided_without_telling_one_from_itself(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmation, "read_best_proxies", lambda *_: [])
    means = {"trial 1": 0.5, "mean": 0.5, "published": 0.5}
    _, outcome = race(platform, means, best_rate=1.0, algorithm="guided", rivals=["published"])
    assert outcome.verdict is not None
    assert (outcome.verdict.is_decided, outcome.verdict.seeds) == (True, 2)
    assert "; it is ahead of the published set by 0.1 AP " in outcome.verdict.sentence
    assert outcome.verdict.sentence.endswith(", which need not be decided.")


def test_no_seeds_are_added_for_the_others_where_no_candidate_can_be_trained(platform: Platform) -> None:
    def fails(trial: Trial) -> bool:
        return trial.label == "mean" or trial.label.startswith("trial ")

    with pytest.raises(ValueError, match="outcome"):  # there is none
        race(platform, {}, fails=fails)
    with platform.database.read() as session:
        (search,) = session.scalars(select(Experiment))
    assert (search.state, search.reason.partition(":")[0]) == ("failed", "no candidate could be confirmed")
    confirms = platform.trials(search, kind="confirm")
    assert len({trial.seed for trial in confirms}) == 2


def test_where_nothing_else_was_found_the_best_guess_races_all_the_same(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(confirmation, "read_best_proxies", lambda *_: [])
    _, outcome = race(platform, {}, algorithm="guided")
    assert [one.label for one in outcome.candidates] == ["mean"]


def test_the_best_loss_is_the_one_that_the_verdict_names(platform: Platform) -> None:
    """Also where a training of it failed."""
    means = {"mean": 0.3} | {f"trial {number}": 0.5 for number in range(4)}
    lost: list[Trial] = []

    def fails(trial: Trial) -> bool:
        if trial.label.startswith("trial ") and not lost:
            lost.append(trial)
        return trial.id in {one.id for one in lost}

    _, outcome = race(platform, means, fails=fails, candidates=2, seeds=3, rivals=[])
    assert outcome.verdict is not None
    assert outcome.verdict.use == outcome.label == lost[0].label
    assert outcome.count == 2


def test_a_try_out_without_a_data_set_of_its_own_has_no_rivals(platform: Platform) -> None:
    search, outcome = race(platform, {}, rivals=None, most_seeds=None)
    assert outcome.rivals == ()
    assert len(platform.trials(search, kind="confirm")) == 2 * 2


@pytest.mark.parametrize(
    ("confirm", "message"),
    [
        ({"rivals": ["ap_l1", "ap_l1"]}, "rivals: expected distinct labels"),
        ({"rivals": [{"search": "x"}]}, "search: expected a name or a loss in full"),
        (
            {"rivals": [{"preset": "published", "learning_rate_factor": 60}]},
            "learning_rate_factor: expected at most 50",
        ),
        ({"rivals": "no_such"}, "expected one of published"),
        ({"rivals": [{"label": "published", "loss": {"name": "ap_l1"}}]}, "it names the published parameters"),
        ({"rivals": ["published", {"label": "mine", "preset": "published"}]}, "the published parameters once at most"),
        ({"seeds": 3, "most_seeds": 2}, "most_seeds: expected at least seeds, 3, got 2"),
    ],
)
def test_rivals_that_cannot_be_met_are_refused(platform: Platform, confirm: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        add_search(platform.database, confirm=confirm)
