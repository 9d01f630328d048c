"""What a trainer is given, and how its end is told."""

import pytest

from paploss.worker.attempt import describe_ending, trainer_environment


def test_a_trainer_never_sees_keys_and_addresses_of_the_platform():
    needed = {"PATH": "/bin", "PAPLOSS_COMMIT": "abc"}
    secret = {"PAPLOSS_KEY": "secret", "PAPLOSS_DATABASE_URL": "postgresql://u:secret@db/x"}
    assert trainer_environment(needed | secret) == needed | {"OMP_WAIT_POLICY": "passive"}


def test_threads_of_a_training_leave_the_cores_to_others_while_they_wait_unless_told_otherwise():
    assert trainer_environment({})["OMP_WAIT_POLICY"] == "passive"
    assert trainer_environment({"OMP_WAIT_POLICY": "active"})["OMP_WAIT_POLICY"] == "active"


@pytest.mark.parametrize(
    ("exit_status", "text"),
    [
        (70, "exit status 70"),
        (128 + 11, "signal 11"),
        (-15, "signal 15"),
        (137, "killed, perhaps by the kernel"),
        (255, "exit status 255"),  # of sys.exit(-1): there is no signal 127
    ],
)
def test_the_ending_of_a_trainer_is_told_in_words(exit_status, text):
    assert describe_ending(exit_status).startswith(text)
