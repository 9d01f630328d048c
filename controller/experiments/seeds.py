"""Seeds of trainings, each a function of the search's seed."""

import numpy as np

_PROXIES, _CONFIRMATIONS, _RATE_CHECKS = 1, 2, 3


def proxy_seed(seed: int, round_number: int) -> int:
    """The seed of all trials of one version of the algorithm.

    One for all of them, so that what a seed adds to every AP cancels in the advantages; another one for each version,
    so that the search as a whole does not fit one seed.
    """
    return _derive(seed, _PROXIES, round_number)


def confirm_seed(seed: int, index: int) -> int:
    """The `index`-th seed for confirming candidates: none that the search has used."""
    return _derive(seed, _CONFIRMATIONS, index)


def rate_check_seed(seed: int, index: int = 0) -> int:
    """The one seed with which rivals are tried at several learning rates: none that they are judged by.

    Those with `index` from 1 are for the further trainings of a pilot.
    """
    return _derive(seed, _RATE_CHECKS, index)


def _derive(seed: int, purpose: int, index: int) -> int:
    return int(np.random.SeedSequence((seed, purpose, index)).generate_state(1)[0] >> 1)
