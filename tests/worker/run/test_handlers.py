"""Which functions a name from the wire reaches: registered ones, and with a setting plain public ones."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from types import ModuleType

import pytest

from jobfleet.config import JobConfig
from jobfleet.functions.registry import Registry
from jobfleet.worker.run.handlers import KNOWN_MOST, Handlers, UnknownFunction
from tests.support.each import each

SOURCE = """
    import functools
    import os.path
    from json import dumps

    def helper(x=1):
        return x

    def _private():
        return "private"

    async def waits():
        return "waits"

    class Thing:
        def __init__(self):
            self.made = True

        @classmethod
        def make(cls):
            return cls()

        @staticmethod
        def still():
            return 1

        def __call__(self):
            return 2

    thing = Thing()
    bound = thing.make
    shorthand = lambda: 3
    partly = functools.partial(helper, 5)
    loops = helper
"""
OUT_OF_REACH = [
    "plain._private", "plain.Thing", "plain.Thing.make", "plain.Thing.still", "plain.thing", "plain.bound",
    "plain.shorthand", "plain.partly", "plain.loops", "plain.dumps", "plain.os.path.join", "plain.os", "plain",
    "plain.make.__self__", "plain.thing.make.__self__", "plain.helper.__call__", "plain.helper.__globals__.get",
    "plain.__loader__.load_module", "plain.__builtins__.eval", "plain.__getattr__", "plain.", "plain.helper.",
    "plain..helper", "os.system", "helper", "", "plain.h\u0435lper", "x" * 60_000,
]  # fmt: skip


@pytest.fixture
def plain() -> Iterator[ModuleType]:
    """A user's module without a single decorator, and with a trap for names that it has not."""
    module = ModuleType("plain")
    exec(textwrap.dedent(SOURCE), vars(module))
    vars(module)["__getattr__"] = lambda name: pytest.fail(f"{name} was looked up")
    sys.modules["plain"] = module
    yield module
    del sys.modules["plain"]


@pytest.mark.parametrize("is_allowed", [False, True])
@each("name", OUT_OF_REACH)
def test_a_name_from_the_wire_reaches_nothing_but_functions(plain: ModuleType, name: str, is_allowed: bool) -> None:
    handlers = Handlers(Registry(), [plain], JobConfig(allow_undecorated=is_allowed))

    with pytest.raises(UnknownFunction) as refused:
        handlers.get(name)

    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("name", ["plain.helper", "plain.waits"])
def test_an_undecorated_function_runs_only_with_the_setting(plain: ModuleType, name: str) -> None:
    with pytest.raises(UnknownFunction) as refused:
        Handlers(Registry(), [plain], JobConfig()).get(name)
    allowing = Handlers(Registry(), [plain], JobConfig(allow_undecorated=True))

    assert allowing.get(name).call is vars(plain)[name.removeprefix("plain.")]
    assert allowing.undecorated == ["plain"]
    assert Handlers(Registry(), [plain], JobConfig()).undecorated == []
    assert str(refused.value) == (
        f"{name!r} is a function of this worker's modules, but it is not registered: decorate it with @job or call "
        f"register_job_function({name!r}, …); allow_undecorated = true runs it as it is."
    )


def test_a_registered_function_runs_whatever_it_is(plain: ModuleType) -> None:
    registry = Registry()
    registry.register(plain._private)
    registry.register(plain.Thing.still)
    registry.register(plain.shorthand, name="plain.short")
    handlers = Handlers(registry, [plain], JobConfig())

    assert handlers.get("plain._private").call is plain._private
    assert handlers.get("plain.Thing.still").call() == 1
    assert handlers.get("plain.short").call() == 3


def test_what_this_program_put_into_jobs_is_run_by_a_worker_inside_it_alone(plain: ModuleType) -> None:
    registry = Registry()
    registry.enqueued["plain._private"] = plain._private

    inside = Handlers(registry, [], JobConfig(), own=registry.enqueued)

    assert inside.get("plain._private").call is plain._private
    with pytest.raises(UnknownFunction):
        Handlers(registry, [], JobConfig()).get("plain._private")


def test_the_cache_of_looked_up_names_is_bounded() -> None:
    registry = Registry()
    names = [f"many.{number}" for number in range(KNOWN_MOST + 50)]
    for name in names:
        registry.register(lambda: 1, name=name)
    handlers = Handlers(registry, [], JobConfig())

    for name in names:
        handlers.get(name)

    assert len(handlers._handlers) == KNOWN_MOST
    assert handlers.get(names[-1]) is handlers.get(names[-1])
