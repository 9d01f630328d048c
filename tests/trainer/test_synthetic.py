import pytest

from paploss.jobs.losses import ParameterizedAP
from paploss.jobs.presets import PRESETS, identity
from paploss.jobs.spec import CheckpointEvent, EvaluationEvent, JobSpec, PrunePoint, SyntheticOptions
from paploss.trainer.errors import Interrupted, OutOfMemory, UserError
from paploss.trainer.synthetic import BEST_AP, noisy_ap, smooth_ap, train_synthetic


def make_job(**changes) -> JobSpec:
    given = {"trial_id": "t", "profile": "synthetic", "loss": PRESETS["retinanet"], "synthetic": SyntheticOptions()}
    return JobSpec.model_validate({**given, **changes})


def options(**changes) -> SyntheticOptions:
    return SyntheticOptions(iterations=10, **changes)


def test_the_published_parameters_are_the_optimum():
    assert smooth_ap(PRESETS["retinanet"]) == BEST_AP
    assert 0.15 < smooth_ap(identity(["bbox_head"])) < 0.35
    assert smooth_ap(identity(["bbox_head"], knots=2)) == pytest.approx(smooth_ap(identity(["bbox_head"])))


@pytest.mark.parametrize("extension", [{"l1_weight": 0.5}, {"giou_weight": 0.5}, {"error_driven": True}])
def test_what_extends_a_loss_counts_in_its_reward(extension):
    heads = {name: head.model_copy(update=extension) for name, head in PRESETS["retinanet"].heads.items()}
    assert 0.3 < smooth_ap(ParameterizedAP(heads=heads)) < BEST_AP


def test_noise_is_seeded_and_has_the_asked_size():
    exact = noisy_ap(make_job(), options(noise=0))
    assert exact == BEST_AP
    rewards = [noisy_ap(make_job(seed=seed), options(noise=0.02)) for seed in range(200)]
    assert noisy_ap(make_job(seed=7), options(noise=0.02)) == rewards[7]
    spread = (sum((reward - exact) ** 2 for reward in rewards) / 200) ** 0.5
    assert spread == pytest.approx(0.02, rel=0.2)


def test_the_reward_is_highest_at_the_best_learning_rate():
    exact = options(noise=0, best_learning_rate_factor=2.0)
    at_half, at_one, at_two = (noisy_ap(make_job(learning_rate_factor=factor), exact) for factor in (0.5, 1, 2))
    assert at_half < at_one < at_two == BEST_AP


def test_interrupted_it_ends_as_if_uninterrupted(make_attempt):
    job = make_job(synthetic=options())
    expected = train_synthetic(job, make_attempt("uninterrupted")[0])
    answers = iter([False, False, False, True])
    attempt, events = make_attempt("interrupted", stop_requested=lambda: next(answers))
    with pytest.raises(Interrupted):
        train_synthetic(job, attempt)
    assert events[-1].iteration == 3
    attempt, events = make_attempt("interrupted")
    assert train_synthetic(job, attempt).reward == expected.reward
    assert events[0].resumed_iteration == 3


def test_it_checkpoints_and_evaluates_on_the_way(make_attempt):
    attempt, events = make_attempt()
    result = train_synthetic(make_job(synthetic=options()), attempt)
    assert [event.iteration for event in events if isinstance(event, CheckpointEvent)] == [2, 4, 6, 8, 10]
    evaluations = [event for event in events if isinstance(event, EvaluationEvent)]
    assert [event.iteration for event in evaluations] == [5, 10]
    assert evaluations[0].metrics.ap < evaluations[1].metrics.ap == result.reward


def test_a_shorter_training_is_the_beginning_of_the_longer_one(make_attempt):
    whole = make_job(synthetic=options())
    expected = train_synthetic(whole, make_attempt("whole")[0])
    attempt, events = make_attempt("by parts")
    short = train_synthetic(whole.model_copy(update={"length": 0.3}), attempt)
    assert (short.outcome, short.iterations) == ("succeeded", 3)
    assert short.reward < expected.reward
    assert events[-2].iteration == 3
    attempt, events = make_attempt("by parts")
    longer = train_synthetic(whole.model_copy(update={"continues": "short"}), attempt)
    assert (events[0].resumed_iteration, events[0].warnings) == (3, ())
    assert (longer.reward, longer.iterations) == (expected.reward, 10)


def test_without_the_checkpoint_that_it_continues_it_trains_from_the_start_and_says_so(make_attempt):
    attempt, events = make_attempt()
    train_synthetic(make_job(synthetic=options(), continues="s1-000002"), attempt)
    assert events[0].resumed_iteration == 0
    assert "no checkpoint of trial s1-000002" in events[0].warnings[0]


def test_trials_below_a_prune_point_stop(make_attempt):
    job = make_job(synthetic=options(), prune=[PrunePoint(fraction=0.3, min_ap=1)])
    result = train_synthetic(job, make_attempt()[0])
    assert (result.outcome, result.iterations) == ("pruned", 3)
    assert 0 < result.reward < BEST_AP


def test_its_reward_is_the_metric_that_is_asked_for(make_attempt):
    attempt, events = make_attempt("whole")
    result = train_synthetic(make_job(synthetic=options(), reward="AP50"), attempt)
    evaluations = [event for event in events if isinstance(event, EvaluationEvent)]
    assert [event.reward for event in evaluations] == [event.metrics.ap50 for event in evaluations]
    assert result.reward == result.metrics.ap50 > result.metrics.ap
    between = (evaluations[0].metrics.ap + evaluations[0].metrics.ap50) / 2
    points = [PrunePoint(fraction=0.5, min_ap=between)]
    pruned = train_synthetic(make_job(synthetic=options(), prune=points), make_attempt("AP")[0])
    assert pruned.outcome == "pruned"
    kept = train_synthetic(make_job(synthetic=options(), prune=points, reward="AP50"), make_attempt("AP50")[0])
    assert kept.outcome == "succeeded"


def test_a_reward_that_cannot_be_measured_is_refused_before_the_first_step(make_attempt):
    attempt, events = make_attempt()
    with pytest.raises(UserError, match=r"reward: there is no class 'cat'; expected one of none"):
        train_synthetic(make_job(synthetic=options(), reward={"class": "cat"}), attempt)
    assert events == []


@pytest.mark.parametrize(("fault", "error"), [("out_of_memory", OutOfMemory), ("user_error", UserError)])
def test_faults_strike_where_and_as_often_as_told(make_attempt, fault, error):
    job = make_job(synthetic=options(fault=fault, fault_iteration=4, fault_attempts=2))
    attempt, events = make_attempt()
    for _ in range(2):
        with pytest.raises(error):
            train_synthetic(job, attempt)
        assert [event.iteration for event in events if isinstance(event, CheckpointEvent)] == [2, 4]
    assert train_synthetic(job, attempt).outcome == "succeeded"


def test_a_diverged_run_scores_0(make_attempt):
    result = train_synthetic(make_job(synthetic=options(fault="diverge", fault_iteration=2)), make_attempt()[0])
    assert (result.outcome, result.reward, result.diverged, result.iterations) == ("succeeded", 0, True, 2)
