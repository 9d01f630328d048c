"""Documents that outlive a version of the program: what is stored, and what programs send each other.

A document is JSON with the version of its schema. A reader ignores fields that it does not know, so that it reads what
a newer program has written, and brings an older document up by one function for each version. Requests of people are
read strictly instead, at the HTTP interface: there an unknown key is a typing error.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, Generic, TypeVar

from pydantic import TypeAdapter, ValidationError

Model = TypeVar("Model")
JsonObject = dict[str, Any]
Upgrade = Callable[[JsonObject], JsonObject]

VERSION_KEY: Final = "schema_version"


class UnreadableError(ValueError):
    """A document that this version of the program cannot make sense of, e.g. of an algorithm that it does not have."""


class Schema(Generic[Model]):
    """How documents of one kind are written and read."""

    def __init__(self, name: str, model: Any, *upgrades: Upgrade) -> None:
        """`name`: for messages; `model`: what pydantic can validate; `upgrades`: from version 1 to 2, 2 to 3, ..."""
        self._name = name
        self._adapter: TypeAdapter[Model] = TypeAdapter(model)
        self._upgrades = upgrades

    @property
    def version(self) -> int:
        """Of what `write` writes."""
        return 1 + len(self._upgrades)

    def write(self, value: Model) -> JsonObject:
        """The document, with its version; without one, it has version 1."""
        document: JsonObject = self._adapter.dump_python(value, mode="json")
        return document if self.version == 1 else {VERSION_KEY: self.version, **document}

    def read(self, document: Mapping[str, Any]) -> Model:
        """The value of a document of any version; one without a version has version 1.

        Raises:
            UnreadableError: names the document and what is wrong with it.
        """
        fields = dict(document)
        found = fields.pop(VERSION_KEY, 1)
        try:
            for upgrade in self._upgrades[found - 1 :] if isinstance(found, int) and found >= 1 else ():
                fields = upgrade(fields)
            return self._adapter.validate_python(fields, extra="ignore")
        except (ValidationError, KeyError, TypeError, AttributeError) as error:
            raise UnreadableError(
                f"{self._name} of schema version {found} (this program writes {self.version}): {describe(error)}"
            ) from error


def describe(error: Exception) -> str:
    """The first fault of a document in one line, with the place where it is."""
    if not isinstance(error, ValidationError):
        return f"{type(error).__name__}: {error}"
    fault = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, fault["loc"]))
    message = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {message}" if place else message
