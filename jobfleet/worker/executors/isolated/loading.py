"""The start of each isolated process: it loads the user's modules, and finds functions in them."""

from __future__ import annotations

import asyncio
import importlib
import logging
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from jobfleet.config import JobConfig
from jobfleet.functions.default_fleet import offer_settings
from jobfleet.functions.registry import REGISTRY, JobFunction
from jobfleet.logs import set_up_logs
from jobfleet.services.modules import load_modules, traceback_of
from jobfleet.worker.executors.isolated.channel import ChannelEnd, EndReport
from jobfleet.worker.run import hooks
from jobfleet.worker.run.handlers import Handler, Handlers, UnknownFunction
from jobfleet.worker.run.log_capture import CURRENT, start_capture

log = logging.getLogger("jobfleet.worker")


def load(talker: ChannelEnd, child: str, config: JobConfig, modules: list[str], app_dir: str) -> Handlers | None:
    """Import the user's modules and report the result. Returns None if they cannot be imported."""
    set_up_logs(config, worker=child, current=CURRENT.get, shows_day=False)
    offer_settings(config)
    try:
        loaded, registry = load_modules(modules, app_dir)
        handlers = Handlers(registry or REGISTRY, loaded, config)
    except Exception as error:  # noqa: BLE001 - handlers are made of the user's functions
        cause = error.__cause__ or error
        log.error("isolated.refused %s", getattr(error, "shown", "") or error)
        talker.send("refused", f"{type(cause).__name__} while its modules were imported")
        return None
    start_capture(owns_process=True)
    return handlers


async def warm_up(handlers: Handlers, talker: ChannelEnd) -> bool:
    """Call the `on_start` hooks and report that the process is ready, or why it is not. Returns whether it is ready."""
    try:
        await hooks.start(handlers.hooks)
    except hooks.StartHookFailed as failed:
        log.error("isolated.refused %s", traceback_of(failed.__cause__ or failed))
        talker.send("refused", str(failed))
        return False
    ready(talker)
    return True


def ready(talker: ChannelEnd) -> None:
    """Report that the process is ready."""
    talker.send_now("ready")  # not by the sending thread, because a job may end the process at once


def find(handlers: Handlers, order: Mapping[str, Any]) -> Handler:
    """A function by its name, else by the place where the worker's process found it.

    Raises:
        Exception: It cannot be found; whatever the user's module raises while it is imported.
    """
    name: str = order["name"]
    try:
        return handlers.get(name)
    except UnknownFunction:
        found: Any = importlib.import_module(order["module"])
        for part in order["qualname"].split("."):
            found = getattr(found, part)
        if not isinstance(found, JobFunction):
            found = JobFunction(found, name=name, options={})
        return handlers.adopt(name, found)


def missing(order: Mapping[str, Any], error: Exception) -> EndReport:
    """The report of a run whose function was not found."""
    return {
        "how": "missing",
        "reason": f"{order['name']!r} cannot be found in a process of its own ({type(error).__name__}). Put it "
        "at the top level of a module that can be imported, or leave run_in='process' out.",
    }


def flush() -> None:
    """Flush what a job has printed, because this process may be killed, or be idle for long."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):
            stream.flush()


def loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """The factory of the fastest event loop that is installed; None for the standard one."""
    try:
        import uvloop
    except ImportError:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return factory
