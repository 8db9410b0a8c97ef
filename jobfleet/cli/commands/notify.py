"""`jobfleet notify`: list notification channels, and test them."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.commands.run import put_first
from jobfleet.cli.invocation import CONNECT_S, PATIENCE_S, Invocation
from jobfleet.cli.options import Group, yes_option
from jobfleet.cli.output import Cell, Column, age, agreed, say

if TYPE_CHECKING:
    from jobfleet.config import JobConfig
    from jobfleet.notify.registry import Channels

module_option = click.option(
    "-m", "--module", "modules", multiple=True, metavar="MODULE",
    help="Load this module first, like the reaper; it may add channels. May be repeated.",
)  # fmt: skip


@click.group(cls=Group)
def notify() -> None:
    """List notification channels, and test them."""


@notify.command("ls")
@module_option
@click.pass_obj
def ls(invocation: Invocation, modules: tuple[str, ...]) -> None:
    """List the channels with their events, and the notifications that wait to be sent.

    The channels are those of the settings and of the given modules.
    """
    from jobfleet.store.calls.journal import deliveries

    channels = _channels(invocation, modules)
    if not channels.channels and invocation.form == "table":
        say("No channels. Write [notify.channels.NAME] into jobfleet.toml, or name a module that adds some: -m MODULE.")
        return
    with invocation.fleet() as fleet:
        keys = fleet.context.keys
        pending = {name: fleet.store.run(deliveries(keys.channel(name))) for name in channels.channels}
    rows: list[list[Cell | str]] = []
    data = []
    for name, channel in channels.channels.items():
        events = sorted({event for rule in channels.rules if rule.channel == name for event in rule.events})
        stand = pending[name]
        oldest = min((one.made_us for one in stand.deliveries), default=0)
        retried = sum(one.attempt > 1 for one in stand.deliveries)
        waits = age((stand.now - oldest) / 1e6) if oldest else "-"
        color = "red" if retried else None
        rows.append(
            [
                name,
                channel.describe(),
                ",".join(events) or "-",
                Cell(str(stand.held), color),
                str(stand.gathered),
                waits,
            ]
        )
        data.append(
            {
                "name": name,
                "leads_to": channel.describe(),
                "events": events,
                "waiting": stand.held,
                "tried": retried,
                "gathered": stand.gathered,
                "oldest_seconds": (stand.now - oldest) / 1e6 if oldest else None,
            }
        )
    columns: list[Column | str] = ["CHANNEL", "LEADS TO", "EVENTS", Column("WAITING", True), Column("GATHERED", True)]
    text = invocation.output.table([*columns, Column("OLDEST", True)], rows)
    invocation.output.show(data=data, ids=[*channels.channels], text=text)


@notify.command("test")
@click.argument("names", nargs=-1, metavar="[CHANNEL]...")
@module_option
@click.pass_obj
def test(invocation: Invocation, names: tuple[str, ...], modules: tuple[str, ...]) -> int:
    """Send a test message through the named channels, or through all.

    This process sends it once, without rules and without Redis. Exit code 1 if a channel fails.
    """
    from jobfleet.notify.registry import unknown_channel

    channels = _channels(invocation, modules)
    for name in names:
        if name not in channels.channels:
            say(unknown_channel(name, channels.channels))
            return fail.NOT_FOUND
    if not channels.channels:
        say("No channels. Write [notify.channels.NAME] into jobfleet.toml, or name a module that adds some: -m MODULE.")
        return fail.NOT_FOUND
    outcomes = {name: _trial(invocation, channels, name) for name in names or channels.channels}
    lines = [f"{name}: {'sent' if error is None else error}" for name, error in outcomes.items()]
    data = [{"name": name, "sent": error is None, "error": error} for name, error in outcomes.items()]
    sent = [name for name, error in outcomes.items() if error is None]
    invocation.output.show(data=data, ids=sent, text="\n".join(lines))
    return fail.DONE if len(sent) == len(outcomes) else fail.FAILED


@notify.command("off")
@yes_option
@click.pass_obj
def off(invocation: Invocation, yes: bool) -> int:
    """Stop keeping events for notifications, when no reaper sends any.

    Until then, events are kept for a reaper that may come back, up to journal_max and journal_ttl.
    """
    if not agreed("Delete unsent notifications, and stop keeping events for them?", yes=yes):
        return fail.FAILED
    invocation.announce()
    asyncio.run(_unregister(invocation.config))
    invocation.output.show(data={"off": True}, ids=[], text="Events are no longer kept for notifications.")
    return fail.DONE


async def _unregister(config: JobConfig) -> None:
    from jobfleet.services.duties.notify import GROUP
    from jobfleet.store.aio import AsyncStore
    from jobfleet.store.journal import Journal
    from jobfleet.store.keys import Keyspace
    from jobfleet.store.target import target_of

    at = target_of(config)
    store = AsyncStore(at, patience=PATIENCE_S, connect_timeout=CONNECT_S)
    journal = Journal(
        store,
        Keyspace.of(config),
        group=GROUP,
        consumer="-",
        most=config.journal_max,
        longest=config.journal_ttl,
    )
    try:
        await journal.unregister()
    finally:
        await store.close()
        at.close()


def _channels(invocation: Invocation, modules: tuple[str, ...]) -> Channels:
    from jobfleet.services.duties.notify import channels_of
    from jobfleet.services.modules import load_modules

    config = invocation.config
    put_first(config.app_dir)
    load_modules(modules, str(config.app_dir))
    return channels_of(config)


def _trial(invocation: Invocation, channels: Channels, name: str) -> str | None:
    """Send a test message through a channel; return the error, None on success."""
    from jobfleet.clock import span, wall_us
    from jobfleet.notify import Notice, Notification
    from jobfleet.notify.text import one_line
    from jobfleet.services.duties.notify import SideThread

    now = wall_us()
    notice = Notice(event="failed", job_id="-", at_us=now, error="nothing has happened")
    trial = Notification(
        id=f"trial-{secrets.token_hex(8)}", channel=name, namespace=invocation.config.namespace, count=1,
        since_us=now, until_us=now, made_us=now, fingerprint="trial", notice=notice, is_trial=True,
    )  # fmt: skip
    channel = channels.channels[name]
    try:
        asyncio.run(SideThread("jobfleet-trial").call(channel.send, trial, timeout=channel.timeout))
    except TimeoutError as error:
        return one_line(str(error)) or f"it took longer than {span(channel.timeout)}"
    except Exception as error:  # noqa: BLE001 - a channel may be anybody's code
        return one_line(str(error) or type(error).__name__, 300)
    return None
