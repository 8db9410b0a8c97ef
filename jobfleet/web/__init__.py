"""The dashboard in a browser, and its API. Extra ``web``.

``jobfleet web`` serves it; ``jobfleet.web.app(fleet)`` is the ASGI application, to mount under a path of another one.
"""

from __future__ import annotations

from importlib.util import find_spec

if find_spec("starlette") is None or find_spec("jinja2") is None:
    raise ImportError("jobfleet.web needs Starlette and Jinja2: pip install 'jobfleet[web]'")

from jobfleet.web.app import WebApp, app

__all__ = ["WebApp", "app"]
