"""Seeds of trainings, each a function of the search's seed."""

import numpy as np

_PROXIES, _CONFIRMATIONS, _PILOTS, _RATE_CHECKS = 1, 2, 3, 4


def proxy_seed(seed: int, round_number: int) -> int:
    """The seed of all trials of one version of the algorithm.

    One for all of them, so that what a seed adds to every AP cancels in the advantages; another one for each version,
    so that the search as a whole does not fit one seed.
    """
    return _derive(seed, _PROXIES, round_number)


def confirm_seed(seed: int, index: int) -> int:
    """The `index`-th seed for confirming candidates: none that the search has used."""
    return _derive(seed, _CONFIRMATIONS, index)


def rate_check_seeds(seed: int) -> tuple[int, int]:
    """The seeds with which rivals are tried at several learning rates: none that they are judged by."""
    return _derive(seed, _PILOTS, 0), _derive(seed, _RATE_CHECKS, 0)


def pilot_seed(seed: int, index: int) -> int:
    """The `index`-th seed, from 1, of the trainings of a pilot that show the noise."""
    return _derive(seed, _PILOTS, index)


def _derive(seed: int, purpose: int, index: int) -> int:
    return int(np.random.SeedSequence((seed, purpose, index)).generate_state(1)[0] >> 1)
