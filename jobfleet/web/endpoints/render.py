"""Render pages. Every value passes through `shown`, and is escaped.

The live part of a page is rendered once for all who see the same: it has a placeholder in place of the CSRF token.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from jobfleet.model import STORED
from jobfleet.version import VERSION
from jobfleet.web import charts, display, drawing
from jobfleet.web.address import segment
from jobfleet.web.errors import Problem
from jobfleet.web.route import DAMAGED
from jobfleet.web.safety.caller import Role
from jobfleet.web.table import MENU

FRAGMENTS_MOST = 256


class Renderer:
    """Renders templates."""

    def __init__(self) -> None:
        self._placeholder = f"csrf-{secrets.token_hex(16)}"
        self._fragments: OrderedDict[tuple[object, ...], str] = OrderedDict()
        self._environment = _templates()

    def page(self, template: str, **context: Any) -> str:
        """Render a whole page."""
        return self._environment.get_template(template).render(**context)

    def live(
        self,
        template: str,
        data: dict[str, Any] | None,
        problem: Problem | None,
        *,
        root: str,
        role: Role,
        csrf: str,
        key: tuple[object, ...] | None = None,
    ) -> Markup:
        """Render the live part of a page.

        Args:
            template: The name of the page.
            data: What it shows; None if there is a problem.
            problem: Why there are no data.
            root: The path under which the dashboard is served.
            role: The role of who sees it.
            csrf: The CSRF token of who sees it.
            key: What identifies the data; pages with the same key share what is rendered.
        """
        whole = None if key is None else (*key, root, role)
        text = None if whole is None else self._fragments.get(whole)
        if text is None:
            name = f"live/{template}.html" if problem is None else "live/problem.html"
            shown = {name: one for name, one in (data or {}).items() if name != DAMAGED}
            damaged = (data or {}).get(DAMAGED)
            text = self._environment.get_template("live/_damaged.html").render(damaged=damaged) if damaged else ""
            text += self._environment.get_template(name).render(
                **shown,
                problem=problem,
                is_first=key is None,
                csrf=self._placeholder,
                can=_permits(role),
                url=lambda path: root + path,
            )
            if whole is not None:
                self._fragments[whole] = text
                if len(self._fragments) > FRAGMENTS_MOST:
                    self._fragments.popitem(last=False)
        return Markup(text.replace(self._placeholder, csrf))  # noqa: S704 - the template has escaped it


@cache
def _templates() -> Environment:
    """All dashboards of a process share the compiled templates: a page takes 35 ms until they are."""
    environment = Environment(
        loader=PackageLoader("jobfleet.web", "templates"),
        autoescape=True,
        finalize=display.shown,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        age=display.age,
        ago=display.ago,
        attribute=display.attribute,
        block=display.block,
        breaks=display.breaks,
        brief=display.brief,
        call=display.call_text,
        clock=display.clock,
        cpu=display.cpu,
        drawn=drawing.drawn,
        duration=display.duration,
        figures=charts.figures,
        json=display.json_text,
        percent=display.percent,
        segment=segment,
        size=display.size,
        sparkline=charts.sparkline,
    )
    environment.globals.update(version=VERSION, menu=MENU, states=[str(one) for one in STORED], operator=Role.OPERATOR)
    return environment


def _permits(role: Role) -> dict[str, bool]:
    """What a role permits, for templates: ``can.operator``."""
    return {str(one): role.permits(one) for one in Role}
