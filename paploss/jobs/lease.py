"""The messages of the lease protocol between a worker and the controller, over HTTP.

A worker takes a trial id from the queue, claims it (`ClaimRequest`), renews the lease while it trains
(`RenewRequest`), and reports once (`ResultRequest`) or releases the lease (`ReleaseRequest`). The token fences: it
is the only thing that says whose trial it is, never a clock.

Worker and controller may be of different versions. Both ignore fields that they do not know, from version 2 of the
protocol on; each names its own version in a header, and a side that has not named one is sent the fields of version 1
alone, because it refuses others. A worker gets no job that it would train otherwise than is meant: `oldest_reader`.
"""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal
from uuid import UUID

from pydantic import Field

from paploss.jobs.analysis import Analysis
from paploss.jobs.messages import Fraction, Message, PlainText
from paploss.jobs.spec import (
    MOST_EVALUATIONS,
    Count,
    EvaluationEvent,
    Facts,
    JobResult,
    JobSpec,
    ProgressEvent,
    Seconds,
    StartEvent,
    TrialId,
)

PROTOCOL: Final = 4
PROTOCOL_HEADER: Final = "Paploss-Protocol"

Command = Literal["continue", "pause", "cancel"]
Token = Annotated[str, Field(max_length=64)]
ByteCount = Annotated[int, Field(ge=0, lt=2**63)]
Evaluations = Annotated[tuple[EvaluationEvent, ...], Field(max_length=MOST_EVALUATIONS)]


class WorkerInfo(Message):
    """Who asks: shown on the workers page and kept with each attempt."""

    name: str = Field(min_length=1, max_length=100, description="stable name of the process, e.g. the pod's name")
    host: PlainText = Field("", max_length=200)
    gpus: Count = 0
    device: PlainText = Field("cpu", max_length=200)
    versions: Facts = Field(default={})


class GpuUse(Message):
    """What one GPU's driver says of it at this moment."""

    memory_used_bytes: ByteCount
    memory_total_bytes: ByteCount
    utilisation: Fraction | None = Field(None, description="share of the time that it computes; null if not known")


class ClaimRequest(Message):
    """Ask for a trial. The same claim_id repeated gets the same answer, so a lost reply costs nothing."""

    claim_id: UUID
    trial_id: TrialId
    worker: WorkerInfo


class Granted(Message):
    """What of a granted claim is enough to release it."""

    trial_id: TrialId
    token: Token = Field(min_length=32, max_length=32, description="128 random bits, hexadecimal")


class Lease(Granted):
    """A granted claim."""

    attempt: Count = Field(ge=1)
    lease_seconds: Seconds
    renew_seconds: Seconds
    job: JobSpec


class RenewRequest(Message):
    """Keep the lease. The first one marks the attempt as started."""

    trial_id: TrialId
    token: Token
    start: StartEvent | None = None
    progress: ProgressEvent | None = None
    evaluations: Evaluations = Field((), description="measured since the start and not told yet")
    log_tail: PlainText = Field("", max_length=20_000)
    gpu_use: tuple[GpuUse, ...] = Field((), max_length=64, description="of the worker's GPUs; empty if not known")


class RenewReply(Message):
    """What the worker is to do with the training: pause releases it with a checkpoint, cancel ends it."""

    command: Command


class ResultRequest(Message):
    """The trial's result; repeating it with the same token is answered as the first time."""

    trial_id: TrialId
    token: Token
    result: JobResult
    evaluations: Evaluations = ()
    analysis: Analysis | None = None
    log_tail: PlainText = Field("", max_length=20_000)


class ReleaseRequest(Message):
    """Release the lease. `preempted` is charged to the preemption budget, `paused` to none."""

    trial_id: TrialId
    token: Token
    reason: Literal["preempted", "paused"]
    log_tail: PlainText = Field("", max_length=20_000)


class Accepted(Message):
    """The answer to a result or a release that counted, now or earlier."""

    state: str = Field(max_length=100)


class FilesRequest(Message):
    """Ask which of these trials' files nobody needs any more."""

    trial_ids: tuple[TrialId, ...] = Field(max_length=500)


class FilesReply(Message):
    """Those that have ended some days ago, and whose files are not what was wanted of them."""

    trial_ids: tuple[TrialId, ...] = Field(max_length=500)


_NEW_SINCE_1: Final[Mapping[type[Message], dict[str, Any]]] = {
    Lease: {"job": {"dataset": {"check_files"}, "reward": True, "length": True, "continues": True}},
    RenewRequest: {"start": {"warnings"}, "evaluations": {"__all__": {"reward"}}},
    ResultRequest: {"evaluations": {"__all__": {"reward"}}, "analysis": True},
}
"""Fields that version 1 of the protocol does not have, by message."""


def oldest_reader(job: JobSpec) -> int:
    """The oldest version of the protocol whose workers train a job as it says.

    Version 2 has no extensions of a head's loss, and takes AP for the reward: it would leave them out. Version 3 has no
    lengths: it would train to the end, and from the start.
    """
    if job.length < 1 or job.continues is not None:
        return 4
    is_extended = any(head.extensions for head in job.loss.head_losses.values())
    return 3 if is_extended or job.reward != "AP" else 1


def encode(message: Message, protocol: int) -> str:
    """A message as JSON for a receiver of that version of the protocol, without the fields that it would refuse."""
    return message.model_dump_json(exclude=_NEW_SINCE_1.get(type(message)) if protocol < 2 else None)


def read_protocol(headers: Mapping[str, str]) -> int:
    """The version of the protocol that the other side has named; 1 where it has named none."""
    named = headers.get(PROTOCOL_HEADER, "")
    return int(named) if named.isascii() and named.isdecimal() and len(named) < 9 else 1
