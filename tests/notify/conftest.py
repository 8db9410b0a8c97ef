"""Receivers of webhooks, and an authority for certificates."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from tests.support.receiver import Answer, Receiver


@pytest.fixture
def receiver_of() -> Iterator[Callable[..., Receiver]]:
    servers: list[Receiver] = []

    def start(*answers: Answer, **options: Any) -> Receiver:
        servers.append(Receiver(*answers, **options).__enter__())
        return servers[-1]

    yield start
    for server in servers:
        server.__exit__()


@pytest.fixture(scope="session")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def ca_file(authority: trustme.CA, tmp_path: Path) -> str:
    file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(file))
    return str(file)
