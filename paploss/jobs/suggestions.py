"""What may have been meant by a word that is not known."""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown word: "; did you mean 'rounds'?", or nothing where none is alike."""
    by_lower = {each.lower(): each for each in known}
    found = get_close_matches(word.lower()[:200], by_lower, n=1)
    return f"; did you mean {by_lower[found[0]]!r}?" if found else ""
