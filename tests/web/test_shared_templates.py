"""Dashboards of one process share what is compiled."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import Environment

from jobfleet import Fleet
from tests.web.site import Site, served


def test_a_second_dashboard_compiles_no_template_again(
    site: Site, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[Any] = []
    original = Environment.compile

    def counted(self: Environment, source: Any, *args: Any, **options: Any) -> Any:
        compiled.append(source)
        return original(self, source, *args, **options)

    first = site.browser().get("/workers")
    monkeypatch.setattr(Environment, "compile", counted)

    with served(fleet) as second:
        again = second.browser().get("/workers")

    assert (first.status, again.status) == (200, 200)
    assert "<title>Workers" in first.text
    assert compiled == []
