"""`jobfleet init`."""

from __future__ import annotations

from pathlib import Path

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Command
from jobfleet.cli.output import plain, say
from jobfleet.cli.starter import project
from jobfleet.cli.starter.names import check_name


@click.command(cls=Command)
@click.argument("name", metavar="[NAME]", required=False)
@click.pass_obj
def init(invocation: Invocation, name: str | None) -> int:
    """Write a starter project: jobs, a test, settings, compose.yaml, and units for systemd.

    It goes into the folder NAME, which is created; without NAME, into the current folder, whose name it takes.
    Existing files are never overwritten: if one is in the way, nothing is written, and the exit code is 1. A .gitignore
    or .dockerignore of the folder is kept.
    """
    folder = Path(name) if name is not None else Path()
    chosen = name if name is not None else Path.cwd().name
    texts = project.contents(chosen)
    kept = [path for path in project.KEPT if (folder / path).is_file()]
    for path in kept:
        del texts[path]
    try:
        project.write(folder, texts)
    except (project.Occupied, OSError) as error:
        say(str(error))
        return fail.FAILED
    paths = [str(folder / path) for path in texts]
    if kept:
        say(f"Kept {' and '.join(kept)}. Add to it: {', '.join(project.NEVER_SENT)}.")
    module = check_name(chosen)
    lines = [f"Wrote {len(paths)} files:", *(f"  {plain(path)}" for path in paths)]
    start = f"cd {chosen} && " if name is not None else ""
    lines.append(f"Next: {start}jobfleet up {module}")
    invocation.output.show(data={"files": paths, "module": module}, ids=paths, text="\n".join(lines))
    return fail.DONE
