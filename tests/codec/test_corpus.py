"""Every blob of the corpus is refused by the reader its name begins with, and by nothing but EncodingError."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from jobfleet.codec import decode, open_envelope, open_record
from jobfleet.errors import EncodingError, EnvelopeTooNew

CORPUS = Path(__file__).parent.parent / "corpus"
READERS: dict[str, Callable[[bytes], object]] = {"payload": decode, "envelope": open_envelope, "record": open_record}
BLOBS = sorted(CORPUS.glob("*.bin"))


@pytest.mark.parametrize("path", BLOBS, ids=lambda path: path.stem)
def test_is_refused(path: Path) -> None:
    reader = READERS[path.stem.partition("-")[0]]
    begin = time.process_time()
    with pytest.raises(EncodingError) as caught:
        reader(path.read_bytes())
    assert time.process_time() - begin < 1
    assert isinstance(caught.value, EnvelopeTooNew) == path.stem.endswith("version-2")
    assert len(str(caught.value)) < 200


def test_the_files_are_those_the_script_writes() -> None:
    spec = importlib.util.spec_from_file_location("corpus_generate", CORPUS / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert {path.name: path.read_bytes() for path in BLOBS} == module.cases()
