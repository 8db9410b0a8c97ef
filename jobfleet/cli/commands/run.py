"""`jobfleet worker`, `reaper`, `demo` and `bench`: the commands that run for a long time.

Their modules are imported on use, so that other commands start faster.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command, settings
from jobfleet.errors import ConfigError


def put_first(folder: Path) -> None:
    """Put a folder first on the import path.

    Raises:
        ConfigError: There is no such folder.
    """
    path = str(folder.expanduser().resolve())
    if not Path(path).is_dir():
        raise ConfigError(f"No folder {str(folder)!r}; correct --app-dir / JOBFLEET_APP_DIR.")
    if path in sys.path:
        sys.path.remove(path)
    sys.path.insert(0, path)


@click.command(cls=Command)
@click.argument("modules", nargs=-1, required=True, metavar="MODULE[:FLEET]...")
@settings(
    "queues", "queue_order", "priorities", "slots", "processes", "lease", "burst", "max_jobs", "max_memory", "max_age",
    "grace", "hang_after", "hang_kill", "reload", "with_reaper", "metrics_port", "metrics_host", "log_jobs",
    "version_label", "chaos", "chaos_seed",
)  # fmt: skip
@click.pass_obj
def worker(invocation: Invocation, modules: tuple[str, ...]) -> int:
    """Run a worker for the jobs of these modules.

    The first SIGTERM or Ctrl-C lets running jobs finish within --grace; the second stops the worker at once. SIGHUP
    drains and restarts, SIGTSTP stops claiming, SIGCONT resumes it, and SIGUSR1 logs stacks.

    --chaos 1% kills children and loses replies on purpose. It is for staging.
    """
    config = invocation.config
    if config.chaos and (source := invocation.loaded.sources["chaos"]) != "argument":
        raise ConfigError(
            f"chaos = {config.chaos:.3g} comes from {source}; only the flag --chaos injects faults, so that a setting "
            "that was left behind does not. Remove it there."
        )
    if not config.chaos and invocation.loaded.sources["chaos_seed"] == "argument":
        raise ConfigError("--chaos-seed is given without --chaos, so it chooses nothing; add --chaos 1%.")
    put_first(config.app_dir)
    invocation.announce()
    from jobfleet.worker.supervisor.main import main

    return main(list(modules), config)


@click.command(cls=Command)
@click.argument("modules", nargs=-1, metavar="[MODULE]...")
@settings("reap_interval", "metrics_port", "metrics_host", "archive_url")
@click.pass_obj
def reaper(invocation: Invocation, modules: tuple[str, ...]) -> int:
    """Run a reaper: settle lost jobs, fire cron entries, send notifications, delete old data.

    Any number of reapers may run. Each MODULE is loaded first; it may add notification channels.
    """
    config = invocation.config
    put_first(config.app_dir)
    invocation.announce()
    from jobfleet.services.main import main

    return main(list(modules), config)


@click.command(cls=Command)
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Most files to index; default all.")
def demo(limit: int | None) -> int:
    """Index the standard library on two workers, and kill one of them.

    The demo starts its own server and leaves nothing behind.
    """
    from jobfleet.demo.show import main

    return main(limit)


@click.command(cls=Command)
@click.option("--jobs", type=click.IntRange(min=1), default=10_000, metavar="N", help="Number of jobs. [default 10000]")
@click.pass_obj
def bench(invocation: Invocation, jobs: int) -> int:
    """Measure how many jobs per second this Redis and one worker handle."""
    invocation.announce()
    from jobfleet.demo.speed import main

    return main(invocation.config, jobs, invocation.form)
