"""A child that asked for it ends with its parent, however that ends."""

import os
import select
import signal
import subprocess
import sys

import pytest

PARENT = """
import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdout=subprocess.PIPE)
child.stdout.readline()  # it has asked
print(child.pid, flush=True)
sys.stdin.read()
"""
CHILD = """
import os, sys, time
from paploss.processes import end_with
end_with(os.getppid())
print("asked", flush=True)
time.sleep(600)
"""


def test_a_child_is_killed_when_its_parent_is_killed() -> None:
    command = [sys.executable, "-c", PARENT, CHILD]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        handle = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        wait_for_end(handle)


def test_a_started_program_gets_the_signal_when_its_parent_is_gone() -> None:
    code = """
import signal, subprocess, sys
from paploss.processes import ending_with_parent
child = subprocess.Popen([sys.executable, "-c", "print('up', flush=True); import time; time.sleep(600)"],
                         stdout=subprocess.PIPE, preexec_fn=ending_with_parent(signal.SIGTERM))
child.stdout.readline()
print(child.pid, flush=True)
sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        handle = os.pidfd_open(int(parent.stdout.readline()))
        parent.kill()
        wait_for_end(handle)


def test_a_child_whose_parent_has_ended_before_the_call_ends_at_once() -> None:
    code = "import os; from paploss.processes import end_with; end_with(os.getppid() + 1); print('alive')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, b"")


def test_the_signal_is_the_callers_choice() -> None:
    code = "import os, signal as s; from paploss.processes import end_with; end_with(1, s.SIGTERM)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGTERM


def test_a_signal_that_does_not_exist_is_refused() -> None:
    code = "import os; from paploss.processes import end_with; end_with(os.getppid(), 1000)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "prctl(PR_SET_PDEATHSIG, 1000): Invalid argument" in done.stderr


def test_it_loads_nothing_but_the_standard_library() -> None:
    code = "import sys, paploss.processes, paploss.files; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def wait_for_end(handle: int) -> None:
    """Waits until the process of a pidfd has ended."""
    poll = select.poll()
    poll.register(handle, select.POLLIN)
    if not poll.poll(30_000):
        pytest.fail("the child outlives its parent")
    os.close(handle)
