"""When a worker leaves trials to others because its own trainings do not start."""

from paploss.worker.misfires import Misfires


def test_one_trial_that_crashes_again_and_again_says_nothing_of_the_machine():
    misfires = Misfires(600)
    assert [misfires.add("a") for _ in range(5)] == [0] * 5


def test_different_trials_cost_pauses_that_double_up_to_ten_minutes():
    misfires = Misfires(600)
    pauses = [misfires.add(trial) for trial in "abcabcdddd"]
    assert pauses == [0, 10, 20, 40, 80, 160, 320, 600, 600, 600]


def test_a_training_that_makes_a_step_clears_the_machine():
    misfires = Misfires(600)
    misfires.add("a")
    misfires.add("b")
    misfires.forget()
    assert [misfires.add("c"), misfires.add("c"), misfires.add("d")] == [0, 0, 10]
