"""`jobfleet reproduce`: run a job's code in this process, and write nothing to Redis."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from jobfleet.cli import fail
from jobfleet.cli.commands.jobs import full_id
from jobfleet.cli.commands.run import put_first
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, settings
from jobfleet.cli.output import plain, plain_lines, say, to_json
from jobfleet.cli.view import jsonable
from jobfleet.codec import read_header
from jobfleet.errors import ConfigError, JobNotFound

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec

    from jobfleet.cli.reproducing import Reproduced
    from jobfleet.fleet.sync import Fleet
    from jobfleet.operations.reproduction import StoredRun


INSTALLED = {"site-packages", "dist-packages"}
"""The folders of packages that are installed."""
REFUSED = "'jobfleet reproduce' writes nothing to Redis. A worker would have done it."


@click.command(cls=Command)
@click.argument("id", metavar="ID")
@click.argument("modules", nargs=-1, metavar="[MODULE[:FLEET]]...")
@click.option("--pdb", "has_pdb", is_flag=True, help="Open the debugger where the job raised.")
@settings("archive_url")
@click.pass_obj
def reproduce(invocation: Invocation, id: str, modules: tuple[str, ...], has_pdb: bool) -> int:
    """Run the code of a job here, with its arguments and stored steps, and write nothing to Redis.

    Steps that have completed return their stored values. Progress and logs are printed; locks and enqueues are
    simulated; everything else that would write is refused. What the code does elsewhere, such as in a database or by
    mail, it does for real. Without MODULE, the module of the function is imported if it is below --app-dir.

    Exit code 0 if the function returns, 1 if it raises, 2 if its module or function is not found here, 3 if the job or
    its arguments are not stored any more.
    """
    from jobfleet.store.trip import refuse_writes

    put_first(invocation.config.app_dir)
    refuse_writes(REFUSED)
    try:
        with invocation.fleet() as fleet:
            return _reproduced(invocation, fleet, id, modules, has_pdb=has_pdb)
    finally:
        refuse_writes("")


def _reproduced(invocation: Invocation, fleet: Fleet, text: str, modules: tuple[str, ...], *, has_pdb: bool) -> int:
    from jobfleet.cli.reproducing import SimulatedFleet
    from jobfleet.cli.reproducing import reproduce as run
    from jobfleet.fleet.default import set_default_fleet
    from jobfleet.functions.default_fleet import offer_settings
    from jobfleet.functions.registry import REGISTRY
    from jobfleet.services.modules import load_modules
    from jobfleet.worker.run.handlers import Handlers, UnknownFunction

    job_id = full_id(fleet, text)
    stored, envelope = _read(fleet, job_id)
    config, name = invocation.config, str(read_header(envelope)["function"])
    offer_settings(config)
    loaded, registry = load_modules(modules or [_module_of(name, config.app_dir)], str(config.app_dir))
    handlers = Handlers(registry or REGISTRY, loaded, config)
    _print_logs()
    _announce(job_id, name, stored)
    with SimulatedFleet.over(fleet) as simulated:
        simulated.context.registry = handlers.registry
        before = set_default_fleet(simulated)
        try:
            work = run(
                config, handlers, job_id, envelope, attempt=max(1, stored.job.attempt), fence=stored.job.fence or 0,
                steps=stored.steps, parents=stored.parents,
            )  # fmt: skip
            ended = asyncio.run(work)
        except UnknownFunction as error:
            raise ConfigError(f"{error} Name the module that registers it: jobfleet reproduce ID MODULE.") from None
        finally:
            set_default_fleet(before)
    return _show(invocation, name, ended, has_pdb=has_pdb)


def _read(fleet: Fleet, job_id: str) -> tuple[StoredRun, bytes]:
    """What is stored about a job, and its envelope.

    Raises:
        JobNotFound: The job is unknown, or its arguments are not stored any more.
    """
    from jobfleet.operations.operation import drive_blocking
    from jobfleet.operations.reproduction import StoredRun, require, stored_run

    try:
        stored = drive_blocking(fleet.store, stored_run(fleet.context, job_id))
    except JobNotFound:
        stored = StoredRun(fleet.poll(job_id), b"", {}, [])
    return stored, require(stored, b"" if stored.envelope else fleet.envelope_from_archive(job_id))


def _module_of(name: str, app_dir: Path) -> str:
    """The module of a function's name, if it is below a folder: a name from Redis must not import anything else.

    To look for ``a.b`` imports ``a``, so each part is looked for after those above it were found below the folder.

    Raises:
        ConfigError: There is no such module below that folder.
    """
    found, parts = "", name.split(".")[:-1]
    for count in range(1, len(parts) + 1):
        module = ".".join(parts[:count])
        try:
            spec = importlib.util.find_spec(module)  # this imports the packages above, which are below the folder
        except Exception:  # noqa: BLE001 - the code of such a package may raise anything, and importing it reports that
            break
        if spec is None or not _is_below(app_dir, spec):
            break
        if spec.origin:
            found = module
    if found:
        return found
    raise ConfigError(
        f"No module for {name!r} below {str(app_dir)!r}; name the one that registers it: jobfleet reproduce ID MODULE."
    )


def _is_below(app_dir: Path, spec: ModuleSpec) -> bool:
    """Whether a module is below a folder, and not installed there, as in a virtual environment of the project."""
    root = app_dir.resolve()

    def is_own(place: str) -> bool:
        resolved = Path(place).resolve()
        return resolved.is_relative_to(root) and not INSTALLED.intersection(resolved.relative_to(root).parts)

    if spec.origin is None:  # a folder without __init__.py has no code, and may have several places
        return any(map(is_own, spec.submodule_search_locations or ()))
    return spec.has_location and is_own(spec.origin)


def _print_logs() -> None:
    """Print what the job logs, unless its modules have set up logging."""
    logging.getLogger("jobfleet.job").setLevel(logging.INFO)
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)-7s %(message)s", stream=sys.stderr)


def _announce(job_id: str, name: str, stored: StoredRun) -> None:
    say(f"Running {plain(name)} of {job_id} here; nothing is written to Redis.")
    from jobfleet.functions.steps import BY_TOKEN

    kinds = {"s:": "step", "c:": "checkpoint", "x:": "signal"}  # the rest are records of waits and undo functions
    kept = [f"{kinds[key[:2]]} {key[2:]!r}" for key in sorted(stored.steps) if key[:2] in kinds and BY_TOKEN not in key]
    if kept:
        say(f"Stored by earlier runs: {', '.join(map(plain, kept))}.")


def _show(invocation: Invocation, name: str, ended: Reproduced, *, has_pdb: bool) -> int:
    """Print how a local run ended; return the exit code."""
    from jobfleet.model.signals import Snooze, Suspended
    from jobfleet.worker.run.failure import users_frames

    error = ended.error
    if ended.refusal:
        say(f"{name} was not called: {ended.refusal}")
        return fail.FAILED
    if isinstance(error, Suspended):
        say(f"{name} {error}.")
        return fail.DONE
    if isinstance(error, Snooze):
        say(f"{name} snoozes for {error.delay:g} s.")
        return fail.DONE
    if error is None:
        text = to_json(jsonable(ended.value)) if not isinstance(ended.value, str) else plain_lines(ended.value)
        invocation.output.show(data={"result": jsonable(ended.value)}, ids=(), text=text)
        return fail.DONE
    frames = users_frames(error)
    click.echo("".join(traceback.format_exception(type(error), error, frames)), err=True, nl=False)
    _debug(frames, has_pdb=has_pdb)
    return fail.FAILED


def _debug(frames: Any, *, has_pdb: bool) -> None:
    if has_pdb and frames is not None:
        import pdb  # noqa: T100 - it is what --pdb asks for

        pdb.post_mortem(frames)
