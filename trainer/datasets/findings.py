"""What is wrong with a data set: errors end a job, warnings do not; each has a count and examples."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Literal

from paploss.trainer.errors import UserError

Level = Literal["error", "warning"]

MOST_EXAMPLES = 20
"""Of one finding, in an error's text and in a report."""
MOST_IN_A_WARNING = 3
MOST_WARNINGS, WARNING_LENGTH = 20, 500
"""What a start event carries."""


_NOUNS: Final = {
    "boxes": "box",
    "classes": "class",
    "categories": "category",
    "entries": "entry",
    "images": "image",
    "files": "file",
    "objects": "object",
    "names": "name",
    "ids": "id",
    "areas": "area",
    "annotations": "annotation",
}
_VERBS: Final = {
    "are": "is",
    "have": "has",
    "were": "was",
    "occur": "occurs",
    "reach": "reaches",
    "hold": "holds",
    "belong": "belongs",
    "name": "names",
}
"""Of the sentences, with what stands for one case."""


@dataclass
class Finding:
    """One kind of fault in one place."""

    level: Level
    place: str
    """A file or folder, or the name of a split."""
    sentence: str
    """What is wrong; `{count}` in it stands for the number of cases."""
    examples: list[str] = field(default_factory=list)
    """The first MOST_EXAMPLES cases, each a sentence of its own with its file or id."""
    count: int = 0

    @property
    def summary(self) -> str:
        """Place, count and what is wrong."""
        sentence = self.sentence.replace("{count}", str(self.count))
        if self.count == 1 and self.sentence.startswith("{count}"):
            sentence = _as_singular(sentence)
        return f"{self.place}: {sentence}" if self.place else sentence

    @property
    def text(self) -> str:
        """For people: of errors every example has its line, of warnings the first few are in brackets."""
        if self.level == "warning":
            shown = ", ".join(self.examples[:MOST_IN_A_WARNING])
            more = ", ..." if shown and self.count > MOST_IN_A_WARNING else ""
            return f"{self.summary} ({shown}{more})" if shown else self.summary
        if self.count == 1 and self.examples and "{count}" in self.sentence:  # the example says it all
            return f"{self.place}: {self.examples[0]}" if self.place else self.examples[0]
        left_out = self.count - len(self.examples)
        more_lines = [f"  ... and {left_out} more"] if self.examples and left_out else []
        return "\n".join([self.summary, *(f"  {example}" for example in self.examples), *more_lines])


class Findings:
    """A collection that groups like faults."""

    def __init__(self) -> None:
        self._found: dict[tuple[Level, str, str], Finding] = {}
        self._told: set[str] = set()

    def __iter__(self) -> Iterator[Finding]:
        return iter(sorted(self._found.values(), key=lambda finding: finding.level))

    def error(self, place: object, sentence: str, example: str = "") -> None:
        """One case of what ends a job."""
        self._add("error", place, sentence, example)

    def error_once(self, sentence: str, example: str) -> None:
        """The same, of no place, for a case that may come more than once, as an image that is in two splits."""
        if example not in self._told:
            self._told.add(example)
            self.error("", sentence, example)

    def warning(self, place: object, sentence: str, example: str = "") -> None:
        """One case of what may be meant."""
        self._add("warning", place, sentence, example)

    def _add(self, level: Level, place: object, sentence: str, example: str) -> None:
        finding = self._found.setdefault((level, str(place), sentence), Finding(level, str(place), sentence))
        finding.count += 1
        if example and len(finding.examples) < MOST_EXAMPLES:
            finding.examples.append(example)

    def count(self, place: object, sentence: str) -> int:
        """How many cases of a warning there are."""
        found = self._found.get(("warning", str(place), sentence))
        return found.count if found else 0

    @property
    def has_errors(self) -> bool:
        """Whether a job on this data must not start."""
        return any(finding.level == "error" for finding in self._found.values())

    def raise_errors(self) -> None:
        """Raises:
        UserError: there are errors; its message has them all.
        """
        if self.has_errors:
            raise UserError("\n".join(finding.text for finding in self if finding.level == "error"))

    def warnings(self) -> tuple[str, ...]:
        """The warnings as a start event carries them: at most MOST_WARNINGS, none longer than WARNING_LENGTH."""
        texts = [finding.text for finding in self if finding.level == "warning"]
        if len(texts) > MOST_WARNINGS:
            texts = [*texts[: MOST_WARNINGS - 1], f"{len(texts) - MOST_WARNINGS + 1} more warnings: paploss doctor"]
        return tuple(text if len(text) <= WARNING_LENGTH else f"{text[: WARNING_LENGTH - 4]} ..." for text in texts)


def _as_singular(sentence: str) -> str:
    """The sentence for one case: "1 image occurs twice"; in "1 of 9 images" there are several."""
    words = sentence.split(" ")
    singular = words.copy()  # looked up in `words`: the noun "name" is a verb too
    for forms in (_NOUNS, _VERBS):
        first = next((number for number, word in enumerate(words) if word in forms), None)
        if first is not None and words[1] != "of":
            singular[first] = forms[words[first]]
    return " ".join(singular)
