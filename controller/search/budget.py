"""How many more trials fit into a search's budget of workers' time."""


def count_affordable(cap_seconds: float, spent_seconds: float, ended: int, open_trials: int) -> int | None:
    """The number of trials that may be proposed now; None where no trial has ended, and their length is unknown.

    Args:
        cap_seconds: the budget.
        spent_seconds: by the trials that have ended, whatever came of them.
        ended: how many those are.
        open_trials: proposed and not ended; each is taken to need as much as those did in the mean.
    """
    if spent_seconds >= cap_seconds:
        return 0
    if ended == 0 or spent_seconds <= 0:
        return None
    return max(0, int((cap_seconds - spent_seconds) / (spent_seconds / ended)) - open_trials)
