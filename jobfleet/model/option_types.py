"""The table of all options of jobs: each name with its type. Type checkers and editors read it, and so does the code.

`Job` has a field of the same type for each row of `JobOptions`. ``@job(…)`` takes `FunctionOptions`, which
`functions/options.py` completes, and ``.options(…)`` takes `JobOptions`. The free texts are rows of `model/fields.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, get_args, overload

from jobfleet.model.fields import JobTexts, SharedTexts
from jobfleet.model.status import Priority, PriorityName

Seconds = float | timedelta
if TYPE_CHECKING:

    class SecondsField:
        """A field of a dataclass that takes `Seconds` and reads as seconds.

        Its default is a plain number. Type checkers ask for a descriptor there, so the line needs a ``type: ignore``.
        """

        def __get__(self, owner: object, kind: type | None = None) -> float: ...
        def __set__(self, owner: object, value: Seconds) -> None: ...

else:
    SecondsField = float
OnConflict = Literal["existing", "raise", "replace", "debounce"]
RunIn = Literal["async", "thread", "process"]
Durability = Literal["fast", "replicated", "fsync"]
LEVELS: tuple[Durability, ...] = get_args(Durability)
FAST: Durability = "fast"
Order = Literal["strict", "strict-park", "strict-fail-rest"]
ORDERS: tuple[Order, ...] = get_args(Order)
Otherwise = Literal["cancel", "run", "wait"]
UniqueFor = Literal["queued", "open"] | Seconds
T_co = TypeVar("T_co", covariant=True)


class Items(Protocol[T_co]):
    """A list, a tuple or another sequence, but no text: ``tags="eu"`` is an error."""

    @overload
    def __getitem__(self, index: int, /) -> T_co: ...
    @overload
    def __getitem__(self, index: slice[Any, Any, Any], /) -> Sequence[T_co]: ...
    def __contains__(self, value: object, /) -> bool: ...
    def __len__(self) -> int: ...
    def __iter__(self) -> Iterator[T_co]: ...
    def __reversed__(self) -> Iterator[T_co]: ...


class HasId(Protocol):
    """A handle or a receipt of a job."""

    @property
    def id(self) -> str:
        """The id of the job."""


class ParentPolicy(Protocol):
    """An `After`: a parent with a policy."""

    @property
    def job(self) -> str | HasId:
        """The id or the handle of the parent."""

    @property
    def otherwise(self) -> Otherwise:
        """What happens to the dependant if the parent does not complete."""


RetryDelay = Seconds | str | Items[Seconds | str]
DelayFunction = Callable[[int, BaseException], Seconds | str]
"""Returns the delay before a retry, from the number of the retry (1 for the first) and the error."""
Parents = Items[str | HasId | ParentPolicy]


class CallbackJob(Protocol):
    """A `Job`."""

    @property
    def name(self) -> str:
        """The label of the job."""

    @property
    def args(self) -> Items[object]:
        """The positional arguments."""

    @property
    def kwargs(self) -> Mapping[str, object]:
        """The keyword arguments."""


class CallbackFunction(Protocol):
    """A function with ``@job`` that can be called without arguments."""

    @property
    def given(self) -> Mapping[str, Any]:
        """The options of its jobs."""

    def job(self) -> CallbackJob:
        """Make a job without arguments."""


Callback = CallbackJob | CallbackFunction


class SharedOptions(SharedTexts, total=False):
    """The options of `Job` that ``@job(…)`` can set for all jobs of a function."""

    cron_expression: str | None
    debounce_max: Seconds | None
    delay: Seconds | None
    durability: Durability | None
    expires_in: Seconds | None
    group: str | None
    hard_timeout: Seconds | None
    max_crashes: int | None
    max_retries: int | None
    metadata: Mapping[str, object] | None
    on_conflict: OnConflict | None
    on_failure: Callback | None
    on_success: Callback | None
    order: Order | None
    priority: Priority | PriorityName | None
    queue: str | None
    result_ttl: Seconds | None
    retry_backoff: float | None
    retry_for: Seconds | str | None
    retry_jitter: bool | None
    run_in: RunIn | None
    tags: Items[str] | None
    timeout: Seconds | None
    tz: str | None
    unique: str | Callable[..., str] | None
    unique_for: UniqueFor | None


class JobOptions(SharedOptions, JobTexts, total=False):
    """All options of `Job`, which describes them; ``send.options(…)`` takes the same."""

    depends_on: Parents | None
    expires_at: datetime | None
    id: str | None
    retry_delay: RetryDelay | None
    scheduled_at: datetime | None


SHARED = frozenset({*SharedOptions.__annotations__, "retry_delay"})
"""The options of jobs that a function can set. Only on a function, `retry_delay` may also be a function."""
OPTIONS = frozenset(JobOptions.__annotations__)
RIVALS = (("delay", "scheduled_at"), ("expires_in", "expires_at"))
"""Options of which a job has one or the other."""
