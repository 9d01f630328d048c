"""When a worker leaves trials to others because its own trainings do not start."""

from paploss.worker.circuit_breaker import CircuitBreaker


def test_one_trial_that_crashes_again_and_again_says_nothing_of_the_machine() -> None:
    breaker = CircuitBreaker(600)
    assert [breaker.record_failure("a") for _ in range(5)] == [0] * 5


def test_different_trials_cost_pauses_that_double_up_to_ten_minutes() -> None:
    breaker = CircuitBreaker(600)
    pauses = [breaker.record_failure(trial) for trial in "abcabcdddd"]
    longest = [0, 10, 20, 40, 80, 160, 320, 600, 600, 600]
    assert all(limit / 2 <= pause <= limit for pause, limit in zip(pauses, longest, strict=True))


def test_a_training_that_makes_a_step_closes_it() -> None:
    breaker = CircuitBreaker(600)
    breaker.record_failure("a")
    breaker.record_failure("b")
    breaker.reset()
    assert [breaker.record_failure("c"), breaker.record_failure("c")] == [0, 0]
    assert 5 <= breaker.record_failure("d") <= 10
