"""The help of every command."""

from __future__ import annotations

from collections.abc import Iterator

import click
from click.testing import CliRunner

from jobfleet.cli.main import main


def _commands(context: click.Context) -> Iterator[tuple[str, ...]]:
    """The words of every command, groups included."""
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        yield (name,)
        if isinstance(command, click.Group):
            below = click.Context(command, parent=context, info_name=name)
            yield from ((name, *words) for words in _commands(below))


def test_every_command_shows_its_help() -> None:
    failed, seen = {}, 0
    for words in _commands(click.Context(main, info_name="jobfleet")):
        result = CliRunner().invoke(main, [*words, "-h"], prog_name="jobfleet")
        seen += 1
        is_begun = result.stdout.startswith(f"Usage: jobfleet {' '.join(words)}")
        if result.exit_code or not is_begun or "\\b" in result.stdout:
            failed[words] = result.exception or result.output
    assert failed == {}
    assert seen > 60
