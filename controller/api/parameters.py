"""Parameters that many routes share. Their patterns refuse what no database column can hold (e.g. NUL)."""

from typing import Annotated

from fastapi import Path, Query

ExperimentId = Annotated[str, Path(pattern=r"^[0-9a-z]{1,32}$")]
SubscriptionId = Annotated[str, Path(pattern=r"^[0-9a-f]{1,16}$")]
TrialId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,64}$")]

_CURSOR = "`next_cursor` of the previous page"
IdCursor = Annotated[str | None, Query(pattern=r"^[0-9a-z]{1,32}$", description=_CURSOR)]
NameCursor = Annotated[str | None, Query(pattern=r"^[^\x00]{1,100}$", description=_CURSOR)]
NumberCursor = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description=_CURSOR)]
ListText = Annotated[str, Query(pattern=r"^[^\x00]{0,100}$")]
Limit = Annotated[int, Query(ge=1, le=500, description="maximum number of items")]
