"""Exit codes of the command line, and errors as one line on stderr.

======  ======================================================================================
code    meaning
======  ======================================================================================
0       done
1       the job or the check failed
2       usage, import or settings are wrong
3       not found: what was named, or all jobs that options select to be changed
4       Redis cannot be reached, or refuses
124     timed out
130     interrupted
======  ======================================================================================
"""

from __future__ import annotations

import re
from collections.abc import Callable

import click

from jobfleet.cli.output import say
from jobfleet.errors import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    EXIT_NOT_FOUND,
    EXIT_OK,
    EXIT_TIMED_OUT,
    EXIT_UNREACHABLE,
    EXIT_USAGE,
    ConfigError,
    InvalidJob,
    JobfleetError,
    JobNotFound,
    PayloadUnavailable,
    StoreUnavailable,
    UnknownGroup,
    UnknownQueue,
    UnknownRescue,
    WaitTimeout,
)

DONE = EXIT_OK
FAILED = EXIT_FAILED
WRONG = EXIT_USAGE
NOT_FOUND = EXIT_NOT_FOUND
UNREACHABLE = EXIT_UNREACHABLE
TIMED_OUT = EXIT_TIMED_OUT
INTERRUPTED = EXIT_INTERRUPTED

_HINT = re.compile(r"\((Did you mean .*\?)\)")  # click's, in brackets
_WHOLE = re.compile(r"is not a valid integer( range)?")  # click's; "integer range" says nothing to a person
_CODES: tuple[tuple[type[JobfleetError], int], ...] = (
    (WaitTimeout, TIMED_OUT),
    (JobNotFound, NOT_FOUND),
    (UnknownQueue, NOT_FOUND),
    (UnknownGroup, NOT_FOUND),
    (UnknownRescue, NOT_FOUND),
    (StoreUnavailable, UNREACHABLE),
    (PayloadUnavailable, UNREACHABLE),
    (ConfigError, WRONG),
    (InvalidJob, WRONG),
)


def code_of(error: JobfleetError) -> int:
    """The exit code of an error."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), FAILED)


def run(command: Callable[[], object]) -> int:
    """Run a command, print an error as one line, and return the exit code."""
    try:
        value = command()
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        return WRONG
    except click.UsageError as error:
        say(f"{_sentence(error)} Try '{error.ctx.command_path if error.ctx else 'jobfleet'} -h'.")
        return WRONG
    except click.ClickException as error:
        say(_sentence(error))
        return WRONG
    except (KeyboardInterrupt, click.Abort):
        return INTERRUPTED
    except JobfleetError as error:
        say(str(error))
        if isinstance(error, ConfigError) and error.shown:
            click.echo(error.shown, err=True, nl=False)
        return code_of(error)
    return value if isinstance(value, int) else DONE


def _sentence(error: click.ClickException) -> str:
    text = _HINT.sub(r"\1", " ".join(error.format_message().split()))
    text = _WHOLE.sub("is not a whole number", text)
    return text if text.endswith((".", "?", "!")) else f"{text}."
