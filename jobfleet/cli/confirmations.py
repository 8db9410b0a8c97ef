"""What workers have answered to a command, as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from jobfleet.clock import span

if TYPE_CHECKING:
    from jobfleet.operations.workers.commands import Confirmation


def confirmed(verb: str, one: Confirmation) -> str:
    """What a worker that has executed a command does now."""
    if verb == "scale":
        return f"{one.worker} has {one.children} {'child' if one.children == 1 else 'children'}."
    if verb == "dump":
        return f"{one.worker} writes to its log."
    return f"{one.worker} is {one.state}."


def not_confirmed(one: Confirmation, *, timeout: float) -> str:
    """Why a worker has not executed a command.

    Args:
        one: Its answer.
        timeout: How long the command waited, in seconds.
    """
    if one.state == "stopping":
        return f"{one.worker} is stopping, which cannot be undone."
    if one.refusal:
        return f"{one.worker} {one.refusal}"
    if one.state in {"gone", "unknown"}:
        return f"{one.worker} has gone."
    return f"{one.worker} has not confirmed within {span(timeout)}; it may still do so."
