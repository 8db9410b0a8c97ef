"""`scripts/unasync`, which writes the blocking twins."""

from __future__ import annotations

from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "scripts" / "unasync"


@pytest.fixture(scope="module")
def unasync() -> ModuleType:
    spec = spec_from_loader("unasync", SourceFileLoader("unasync", str(SCRIPT)))
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("awaited", "blocking"),
    [
        ("async def f():\n    return await g()\n", "def f():\n    return g()\n"),
        ("async with a as b:\n    pass\n", "with a as b:\n    pass\n"),
        ("async for x in AsyncFleet():\n    yield x\n", "for x in Fleet():\n    yield x\n"),
        ("from a._async.b import AsyncX\n", "from a._sync.b import X\n"),
        ("await self.aclose()\n", "self.close()\n"),
        ("raise StopAsyncIteration\n", "raise StopIteration\n"),
        ("class _AsyncBase:\n    pass\n", "class _Base:\n    pass\n"),
        ('"""See ``await fleet.cron()`` of `AsyncFleet`."""\n', '"""See ``fleet.cron()`` of `Fleet`."""\n'),
        ("x = 1  # as `AsyncFleet`\n", "x = 1  # as `Fleet`\n"),
        ("asynchronous = Asynchronous = 1\n", "asynchronous = Asynchronous = 1\n"),
        ("if a:\n    b = 1\n\n    c = 2\nd = (\n    3,\n)\n", "if a:\n    b = 1\n\n    c = 2\nd = (\n    3,\n)\n"),
        ("x = 1 + \\\n    await f()\n", "x = 1 + \\\n    f()\n"),
    ],
)
def test_a_text_without_await(unasync: ModuleType, awaited: str, blocking: str) -> None:
    assert "".join(unasync.pieces(awaited)) == blocking


def test_a_stale_twin_is_named(
    unasync: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    source, twin = tmp_path / "jobfleet" / "_async", tmp_path / "jobfleet" / "_sync"
    source.mkdir(parents=True)
    twin.mkdir()
    monkeypatch.setattr(unasync, "ROOT", tmp_path)
    monkeypatch.setattr(unasync, "ruff", lambda text, *_: text)
    (source / "a.py").write_text("async def f() -> None: ...\n", encoding="utf-8")
    (twin / "b.py").write_text("", encoding="utf-8")

    assert unasync.main(["--check"]) == 1
    assert "jobfleet/_sync/a.py is stale" in (err := capsys.readouterr().err)
    assert "jobfleet/_sync/b.py is stale" in err

    (twin / "b.py").unlink()
    assert unasync.main([]) == 0
    assert (twin / "a.py").read_text(encoding="utf-8").endswith("\ndef f() -> None: ...\n")
    assert unasync.main(["--check"]) == 0
