"""mypy on uses of the public names: what must type-check does, what must not does not."""

from __future__ import annotations

from pathlib import Path

import pytest
from mypy import api

ROOT = Path(__file__).parents[2]
GOOD = ROOT / "tests" / "typing" / "good.py"
TYPED = ROOT / "tests" / "typing" / "typed_values.py"
HEAD = """\
from __future__ import annotations
from jobfleet import AsyncFleet, Fleet, Job, JobContext, JobHandle, job

@job
def send(ctx: JobContext, to: str) -> int:
    return len(to)

@job(queue="mail")
async def load(url: str, *, retries: int = 3) -> bytes:
    return b""

async def main(fleet: Fleet, afleet: AsyncFleet) -> None:
"""
TOLD = {
    'reveal_type(send.enqueue("x"))': 'Revealed type is "jobfleet.handle._sync.handle.JobHandle[int]"',
    'reveal_type(await load.aenqueue("x"))': 'Revealed type is "jobfleet.handle._async.handle.AsyncJobHandle[bytes]"',
    'reveal_type(send.options(delay=1).enqueue("x").result())': 'Revealed type is "int"',
    'reveal_type(load.enqueue("x", retries=1).result())': 'Revealed type is "bytes"',
    'reveal_type(send.job("x"))': 'Revealed type is "jobfleet.model.spec.Job[int]"',
    'reveal_type(fleet.enqueue(send.job("x")))': 'Revealed type is "jobfleet.model.result.JobId[int]"',
    'reveal_type(await afleet.enqueue(send.job("x")))': 'Revealed type is "jobfleet.model.result.JobId[int]"',
    "reveal_type(send.function)": 'Revealed type is "def (jobfleet.functions.context.JobContext, to: str) -> int"',
    "send.enqueue(1)": (
        'Argument 1 to "enqueue" of "JobFunction" has incompatible type "int"; expected "str"  [arg-type]'
    ),
    "send.enqueue()": 'Missing positional argument "to" in call to "enqueue" of "JobFunction"  [call-arg]',
    'send.enqueue("x", 2)': 'Too many arguments for "enqueue" of "JobFunction"  [call-arg]',
    'send.enqueue("x", queue="mail")': (
        'Unexpected keyword argument "queue" for "enqueue" of "JobFunction"  [call-arg]'
    ),
    'load.enqueue("x", 3)': 'Too many positional arguments for "enqueue" of "JobFunction"  [call-arg]',
    "load.options(delay=1).enqueue(b'x')": (
        'Argument 1 to "enqueue" of "JobFunction" has incompatible type "bytes"; expected "str"  [arg-type]'
    ),
    'wrong: JobHandle[str] = send.enqueue("x")': (
        'Incompatible types in assignment (expression has type "JobHandle[int]", variable has type "JobHandle[str]")'
        "  [assignment]"
    ),
    'fleet.enqueue("mail.send")': (
        'Argument 1 to "enqueue" of "Jobs" has incompatible type "str"; expected "Job[Never]"  [arg-type]'
    ),
}


def run(*paths: Path) -> tuple[list[str], str]:
    """What mypy says of files, line by line, and what it says besides."""
    flags = ["--strict", "--no-error-summary", "--no-color-output", "--config-file", "", "--follow-imports", "silent"]
    cache = ROOT / ".mypy_cache" / "typing"  # outlives this run: without it mypy reads all of redis-py again
    told, errors, _ = api.run([*flags, "--cache-dir", str(cache), *map(str, paths)])
    return [line for line in told.splitlines() if "note: Revealed" in line or "error:" in line], errors


def test_mypy_says_of_each_use_what_it_must(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MYPYPATH", str(ROOT))
    monkeypatch.chdir(ROOT)
    module = tmp_path / "uses.py"
    module.write_text(HEAD + "".join(f"    {line}\n" for line in TOLD), encoding="utf-8")

    lines, errors = run(GOOD, TYPED, module)

    said: dict[str, list[str]] = {}
    for line in lines:
        path, number, _, text = line.split(":", 3)
        use = module.read_text().splitlines()[int(number) - 1] if Path(path).name == module.name else line
        said.setdefault(use.strip(), []).append(text.strip())
    assert errors == ""
    assert said == {use: [text] for use, text in TOLD.items()}
