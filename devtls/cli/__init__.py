"""The command line: words in, words out; the only place that prints and exits."""

from __future__ import annotations

import gc
import importlib
import os
import sys

import click

from devtls import __version__
from devtls.errors import DevtlsError

# Each command is a module of this package with a function of the same name; it is imported when it is called, since
# start-up is a feature and `devtls --version` should cost little more than `import click`.
COMMANDS = {
    "up": "Serve a project on its real domains, over trusted HTTPS.",
    "down": "Stop the project of this folder.",
    "ps": "Show what runs, where, and whether its checks pass.",
    "logs": "Show what the services printed.",
    "restart": "Restart a service, or all of them.",
    "config": "Show what devtls.toml comes to, and where each value is from.",
    "cert": "Write a certificate and its key for elsewhere.",
    "trust": "Have the system and the browsers trust your authorities.",
    "untrust": "Have no store trust them any more.",
    "exec": "Run a command that trusts your authorities.",
    "env": "Print what makes programs trust them, for eval.",
    "hosts": "Show and edit the lines of devtls in the hosts file.",
    "doctor": "Tell which stores and programs trust your authorities.",
    "clean": "Take everything that devtls did to this machine back.",
}


class Commands(click.Group):
    """The commands, imported one at a time."""

    def list_commands(self, _context: click.Context) -> list[str]:
        """In the order in which they are learnt."""
        return list(COMMANDS)

    def get_command(self, _context: click.Context, name: str) -> click.Command | None:
        """Import a command."""
        if name not in COMMANDS:
            return None
        command: click.Command = getattr(importlib.import_module(f"devtls.cli.{name}"), name)
        return command

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Say what each is for, without importing it."""
        with formatter.section("Commands"):
            formatter.write_dl(list(COMMANDS.items()))


@click.command(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="devtls", message="%(prog)s %(version)s")
def devtls() -> None:
    """Your production topology on your own machine: real domain, trusted HTTPS, nginx, your app, and proof.

    To begin:  devtls up love.cat --app "node app.js"
    """


def main() -> None:
    """Run a command; a user's mistake ends with one clear message and an exit code, a bug with its traceback."""
    gc.disable()  # what imports make is not garbage: 7 of the 76 ms from command to app; a session turns it on again
    try:
        become_invoking_user()
        devtls(standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as help_text:
        click.echo(help_text.format_message())
        sys.exit(2)
    except click.ClickException as error:
        error.show()
        if isinstance(error, click.NoSuchOption) and (name := next(filter(_is_like_a_domain, sys.argv), "")):
            click.echo(f"{name} is not a host name: a label begins with a hyphen.", err=True)
        sys.exit(2)
    except click.exceptions.Exit as ending:
        sys.exit(ending.exit_code)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
    except BrokenPipeError:  # `devtls ps | head -1`
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(1)
    except DevtlsError as error:
        from devtls.cli.output import show_error

        show_error(error, as_json="--json" in sys.argv)
        sys.exit(error.exit_code)


def _is_like_a_domain(word: str) -> bool:
    return word.startswith("-") and "." in word and "=" not in word


def become_invoking_user() -> None:
    """Under `sudo devtls …` be the user who typed it: state is theirs, and root is asked for where it is needed."""
    uid = os.environ.get("SUDO_UID", "")
    if os.geteuid() != 0 or not uid.isdecimal() or uid == "0":
        return
    import pwd

    try:
        user = pwd.getpwuid(int(uid))
    except KeyError as error:
        raise DevtlsError(f"sudo says that you are user {uid}, whom this machine does not know") from error
    os.initgroups(user.pw_name, user.pw_gid)
    os.setgid(user.pw_gid)
    os.setuid(user.pw_uid)
    for name in [name for name in os.environ if name.startswith("XDG_")]:
        del os.environ[name]  # root's, or nobody's
    os.environ.update(HOME=user.pw_dir, USER=user.pw_name, LOGNAME=user.pw_name)
