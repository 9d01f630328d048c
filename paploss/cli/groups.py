"""Groups of commands: a command's module is imported when it runs, and failures end with a message and a status."""

from collections.abc import Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, ClassVar, NamedTuple, NoReturn

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

from paploss.cli.extras import Extra, require
from paploss.cli.failures import INTERRUPTED, REFUSED, UNREACHABLE, CommandError
from paploss.cli.output import plain
from paploss.client.errors import ApiError, UnreachableError


class CommandEntry(NamedTuple):
    """A command of a group."""

    target: str
    """`module:function`, the module in paploss.cli; or the `typer.Typer` of a group in place of a function."""
    summary: str
    """What the list of commands shows: the first paragraph of the function's docstring."""
    extras: tuple[Extra, ...] = ()
    """Without which it cannot run at all."""


class CommandGroup(TyperGroup):
    """Commands whose failures end with their message and status instead of a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except CommandError as error:
            _fail(str(error), error.status)
        except UnreachableError as error:
            _fail(str(error), UNREACHABLE)
        except ApiError as error:
            _fail(str(error), REFUSED)
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def make_group(help_text: str) -> typer.Typer:
    """A group of commands below `paploss`, for its commands to be added to."""
    return typer.Typer(cls=CommandGroup, add_completion=False, help=help_text, no_args_is_help=True)


class LazyGroup(CommandGroup):
    """The commands of `entries`. Help and the shell's completion list them without importing any."""

    entries: ClassVar[Mapping[str, CommandEntry]]

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes | {"commands": _Commands(self.entries)})

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 (the library's signature)
        """Names, in the order of `entries`."""
        return list(self.entries)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 (the library's signature)
        """A command's name and summary, for lists."""
        entry = self.entries.get(cmd_name)
        return entry and TyperCommand(cmd_name, help=entry.summary)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that the arguments name, to run."""
        name, listed, rest = super().resolve_command(ctx, args)
        if name is None or listed is None:
            return name, listed, rest
        entry = self.entries[name]
        require(f"paploss {name}", *entry.extras)
        return name, self.commands[name], rest


class _Commands(Mapping[str, Any]):
    """Commands by name, each loaded when it is looked up."""

    def __init__(self, entries: Mapping[str, CommandEntry]) -> None:
        self._entries = entries

    def __getitem__(self, name: str) -> Any:
        return _load(name, self._entries[name])

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)


@cache
def _load(name: str, entry: CommandEntry) -> Any:
    module, _, function = entry.target.partition(":")
    target = getattr(import_module(f"paploss.cli.{module}"), function)
    if isinstance(target, typer.Typer):
        group = get_command(target)
        group.name = name
        return group
    alone = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    alone.command(name)(target)
    return get_command(alone)


def _fail(message: str, status: int) -> NoReturn:
    typer.echo(f"paploss: {plain(message)}", err=True)
    raise typer.Exit(status) from None
