"""The pauses of the loop of elastic workers; what it does with a cluster is in test_scaler.py."""

import logging
import threading
from typing import Any

import pytest

from paploss.controller.scaling import scaler
from paploss.controller.scaling.errors import ClusterError
from paploss.controller.scaling.pools import Pools
from paploss.controller.scaling.scaler import Scaler

DAY_OF_REFUSALS = 1440
"""So many passes fail in a day, one a minute."""


def test_a_cluster_that_refuses_for_a_day_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    refused = 0
    enough = threading.Event()

    def refuse() -> None:
        nonlocal refused
        refused += 1
        if refused >= DAY_OF_REFUSALS:
            enough.set()
        raise ClusterError("refused")

    pools = Pools(namespace="ml", prefix="demo", owner="demo-pools", labels={"app": "demo"}, pools=())
    nothing: Any = None  # a pass that is refused at once needs no database and no cluster
    made = Scaler(nothing, nothing, pools, lambda: True, pause_seconds=1e-6)
    monkeypatch.setattr(scaler, "_LONGEST_PAUSE_SECONDS", 1e-6)
    monkeypatch.setattr(made, "look", refuse)
    logging.disable()
    thread = threading.Thread(target=made.run)
    thread.start()
    try:
        assert enough.wait(20)
    finally:
        made.stop()
        thread.join()
        logging.disable(logging.NOTSET)
