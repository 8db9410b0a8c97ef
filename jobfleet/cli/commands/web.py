"""`jobfleet web`: serve the dashboard, and manage its users and tokens."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

import click

from jobfleet.cli import fail
from jobfleet.cli.invocation import Invocation
from jobfleet.cli.options import Group
from jobfleet.cli.options import settings as settings_options
from jobfleet.cli.output import plain, say
from jobfleet.errors import ConfigError

if TYPE_CHECKING:
    from jobfleet.web.safety.access import AccessFile

ROLES = ("viewer", "producer", "approver", "operator", "admin")
PASSWORD_LEAST = 8
name_argument = click.argument("name", metavar="NAME")
role_option = click.option(
    "--role", type=click.Choice(ROLES), default="viewer", show_default=True, help="What NAME may do."
)


class _Web(Group):
    """A group that also is a command, with flags of its own."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the flags, and then the commands."""
        own = [one for one in self.params if one.name and one.name.startswith("web_")]
        records = [record for one in own if (record := one.get_help_record(ctx))]
        if records:  # the groups below have none
            with formatter.section("Options"):
                formatter.write_dl(records)
        super().format_options(ctx, formatter)


@click.group(cls=_Web, invoke_without_command=True)
@settings_options(
    "web_host", "web_port", "web_url", "web_root_path", "web_access", "web_open_role", "web_open_access",
    "web_trusted_proxies", "web_login_header", "web_proxies", "web_proxy_header", "web_session", "web_streams",
)  # fmt: skip
@click.pass_context
def web(ctx: click.Context) -> None:
    """Serve the dashboard, or manage its users and tokens.

    It listens on this machine only; without users, it prints an address with a token that works once. Another --host
    needs a user, a token, or a proxy that logs people in.
    """
    if ctx.invoked_subcommand is None:
        _serve(ctx.ensure_object(Invocation))


def _serve(invocation: Invocation) -> None:
    try:
        from jobfleet.web.server import serve
    except ImportError as error:
        raise ConfigError(f"The dashboard needs more packages ({error}): pip install 'jobfleet[web]'") from error
    from jobfleet.fleet.sync import Fleet
    from jobfleet.logs import set_up_logs

    invocation.announce()
    set_up_logs(invocation.config)
    with Fleet.of(invocation.config) as fleet:
        serve(fleet, say)


def _file(invocation: Invocation) -> AccessFile:
    from jobfleet.web.safety.access import AccessFile

    return AccessFile(invocation.config.web_access)


def _tell_place(invocation: Invocation, file: AccessFile) -> None:
    """Say how a dashboard uses the same file, if its path depends on the current folder."""
    if not file.path.is_absolute() and invocation.form == "table":
        path = plain(shlex.quote(str(file.path.absolute())))
        say(
            f"A dashboard that was started in another folder uses another file: start it with 'jobfleet web --access "
            f"{path}', or set JOBFLEET_WEB_ACCESS={path}."
        )


@web.group()
def user() -> None:
    """Add, list and remove the users of the dashboard."""


@user.command("add")
@name_argument
@role_option
@click.option("--no-password", is_flag=True, help="Only a trusted proxy can log NAME in.")
@click.pass_obj
def add(invocation: Invocation, name: str, role: str, no_password: bool) -> None:
    """Add a user, or change the role and the password of one.

    The password is read from the terminal, or from the first line of the standard input.
    """
    from jobfleet.web.safety.access import Role

    file = _file(invocation)
    file.check()  # before somebody types a password
    file.add_user(name, Role(role), None if no_password else _password(name))
    path = str(file.path.absolute())
    text = f"{name} is {role} in {plain(path)}."
    invocation.output.show(data={"user": name, "role": role, "file": path}, ids=[name], text=text)
    _tell_place(invocation, file)


def _password(name: str) -> str:
    """Ask for a password twice, or read it from a pipe."""
    if sys.stdin.isatty():
        password: str = click.prompt(f"Password of {name}", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\n")
    if len(password) < PASSWORD_LEAST:
        raise click.UsageError(f"A password needs {PASSWORD_LEAST} characters or more.")
    return password


@user.command("ls")
@click.pass_obj
def list_users(invocation: Invocation) -> None:
    """List the users."""
    every = _file(invocation).read().users.values()
    if not every and invocation.form == "table":
        say("No users; add one with 'jobfleet web user add NAME'.")
        return
    rows = [[one.name, one.role, "password" if one.password else "proxy only"] for one in every]
    invocation.output.show(
        data=[{"user": one.name, "role": one.role, "has_password": bool(one.password)} for one in every],
        ids=[one.name for one in every],
        text=invocation.output.table(["USER", "ROLE", "LOGIN"], rows),
    )


@user.command("rm")
@name_argument
@click.pass_obj
def rm(invocation: Invocation, name: str) -> int:
    """Remove a user, and end the user's sessions."""
    if not _file(invocation).remove_user(name):
        say(f"No user {name!r}.")
        return fail.NOT_FOUND
    invocation.output.show(data={"user": name}, ids=[name], text=f"Removed the user {name}.")
    return fail.DONE


@web.group()
def token() -> None:
    """Create, list and revoke tokens, with which programs use the API."""


@token.command()
@name_argument
@role_option
@click.pass_obj
def create(invocation: Invocation, name: str, role: str) -> None:
    """Create a token and print it. It cannot be shown again."""
    from jobfleet.web.safety.access import Role

    file = _file(invocation)
    text = file.create_token(name, Role(role))
    invocation.output.show(data={"name": name, "role": role, "token": text}, ids=[text], text=text)
    _tell_place(invocation, file)


@token.command("ls")
@click.pass_obj
def list_tokens(invocation: Invocation) -> None:
    """List the tokens, without what they are."""
    every = _file(invocation).read().tokens.values()
    if not every and invocation.form == "table":
        say("No tokens; create one with 'jobfleet web token create NAME'.")
        return
    invocation.output.show(
        data=[{"name": one.name, "role": one.role, "created": one.created} for one in every],
        ids=[one.name for one in every],
        text=invocation.output.table(["NAME", "ROLE", "CREATED"], [[one.name, one.role, one.created] for one in every]),
    )


@token.command()
@name_argument
@click.pass_obj
def revoke(invocation: Invocation, name: str) -> int:
    """Revoke a token."""
    if not _file(invocation).revoke_token(name):
        say(f"No token {name!r}.")
        return fail.NOT_FOUND
    invocation.output.show(data={"name": name}, ids=[name], text=f"Revoked the token {name}.")
    return fail.DONE
