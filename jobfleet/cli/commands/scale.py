"""`jobfleet scale`."""

from __future__ import annotations

import click

from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command
from jobfleet.cli.output import count, say
from jobfleet.cli.schema import scale_data


@click.command(cls=Command)
@click.argument("queue", metavar="QUEUE")
@click.option("--least", type=int, default=0, show_default=True, metavar="N", help="Smallest number of workers.")
@click.option("--most", type=int, default=100, show_default=True, metavar="N", help="Largest number of workers.")
@click.option("--wait", default="15s", show_default=True, metavar="TIME", help="Time within which due jobs start.")
@click.option("--hold", default="5m", show_default=True, metavar="TIME", help="Time for which workers are kept.")
@click.pass_obj
def scale(invocation: Invocation, queue: str, least: int, most: int, wait: str, hold: str) -> None:
    """Show how many workers a queue needs, why, and which ones to remove.

    It changes nothing. A reaper answers the same to an autoscaler: GET /scale/QUEUE on its metrics port.
    """
    with invocation.fleet() as fleet:
        found = fleet.scale(queue, least=least, most=most, wait=wait, hold=hold)
    lines = [f"{queue}: {count(found.workers, 'worker')}; now {found.current:,}.", found.reason]
    lines += [f"Remove {worker}: jobfleet workers stop {worker}" for worker in found.remove]
    invocation.output.show(data=scale_data(found), ids=list(found.remove), text="\n".join(lines))
    if found.workers > found.current and invocation.form == "table":
        more = count(found.workers - found.current, "worker")
        if found.waiting:
            say(f"Start {more} more.")
        else:
            say(f"No job waits. Start {more} more if jobs that arrive are not to wait for a start.")
