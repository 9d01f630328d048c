"""The one place where a terminal for people is made: no text of a user or a file is ever read as markup.

Names, labels, paths and messages hold brackets, colons and whatever else people type. Rich would take some of that for
styles or emoji, and a terminal would obey control characters.
"""

from typing import IO

from rich.console import Console, JustifyMethod, OverflowMethod
from rich.style import Style
from rich.text import Text

from paploss.cli.output import plain


class PlainConsole(Console):
    """Prints every string as it is written."""

    def render_str(
        self,
        text: str,
        *,
        style: str | Style = "",
        justify: JustifyMethod | None = None,
        overflow: OverflowMethod | None = None,
        **_interpretation: object,
    ) -> Text:
        """The string as text, whatever markup, emoji or highlighting a caller or a widget asks for."""
        return Text(plain(text), style=style, justify=justify, overflow=overflow)


def make_console(*, stderr: bool = False, file: IO[str] | None = None, width: int | None = None) -> Console:
    """A console for people; on standard error where standard output is for programs."""
    return PlainConsole(stderr=stderr, file=file, width=width, highlight=False, markup=False, emoji=False)


def say(console: Console, text: object) -> None:
    """Print a line that a terminal may break, but that is not broken where it goes to a file."""
    console.print(str(text), soft_wrap=True)
