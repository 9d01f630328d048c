"""How many more trials fit into a search's budget of workers' time."""


def count_affordable(
    cap_seconds: float, spent_seconds: float, mean_seconds: float | None, open_trials: int
) -> int | None:
    """The number of trials that may be proposed now; None where their length is unknown and something is left.

    Args:
        cap_seconds: the budget.
        spent_seconds: by the trials that have ended, whatever came of them, and by what else is counted.
        mean_seconds: what one trial is taken to need, above 0; None where none has ended.
        open_trials: proposed and not ended; each is taken to need as much.
    """
    if spent_seconds >= cap_seconds:
        return 0
    if mean_seconds is None:
        return None
    return max(0, int((cap_seconds - spent_seconds) / mean_seconds) - open_trials)
