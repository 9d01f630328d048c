"""Which of a machine's GPUs each slot's trainer sees."""

import pytest

from paploss.worker.machine import count_visible, share_gpus


@pytest.mark.parametrize(
    ("slots", "wanted", "found", "visible", "expected"),
    [
        (4, 1, 4, None, ["0", "1", "2", "3"]),
        (3, 1, 2, None, ["0", "1", "0"]),  # more slots than GPUs: they share
        (2, 2, 4, None, ["0,1", "2,3"]),
        (2, 2, 3, None, ["0,1", "0,1"]),
        (2, 0, 2, None, ["0", "1"]),
        (2, 1, 2, "5, GPU-af3b", ["5", "GPU-af3b"]),
    ],
)
def test_slots_take_parts_of_the_gpus_in_turn(slots, wanted, found, visible, expected):
    seen = [share_gpus(slot, wanted, found, visible)["CUDA_VISIBLE_DEVICES"] for slot in range(slots)]
    assert seen == expected


@pytest.mark.parametrize(("wanted", "found"), [(1, 1), (0, 1), (1, 0), (8, 8), (8, 4)])
def test_where_there_is_nothing_to_share_the_environment_stays(wanted, found):
    assert share_gpus(0, wanted, found, None) == {}


@pytest.mark.parametrize(
    ("devices", "count"),
    [("", 0), ("-1", 0), ("NoDevFiles", 0), ("0", 1), ("2, 0", 2), ("0,-1,1", 1), ("GPU-af3b,MIG-1c", 2)],
)
def test_gpus_are_counted_as_cuda_reads_their_list(devices, count):
    assert count_visible(devices) == count
