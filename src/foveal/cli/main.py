"""The command line: one file a command; a command is a function, its signature the options.

torch is imported only once all options are parsed, so that help and mistakes cost no waiting.
Results go to standard output, all else to standard error; a user's mistake is one line there and
exit status 2.
"""

import codecs
import errno
import io
import os
import sys
import tempfile
import warnings
from collections.abc import Callable, Sequence

import cyclopts

from foveal import __version__
from foveal._signals import exit_status, raised
from foveal.cli._console import FAILURE, MISTAKE, PIPE_CLOSED, SUCCESS, complain
from foveal.cli._parsers import new_app
from foveal.cli.benchmark import benchmark
from foveal.cli.data import data
from foveal.cli.evaluate import evaluate
from foveal.cli.explain import explain
from foveal.cli.export import export
from foveal.cli.plan import plan
from foveal.cli.predict import predict
from foveal.cli.recipes import recipes
from foveal.cli.reproduce import reproduce
from foveal.cli.train import train
from foveal.errors import Failure, UserError

HELP = """
Recognise things in large images when the answer sits in a few small places.

foveal COMMAND --help shows the options of a command.
"""
COMMANDS: dict[str, Callable[..., int]] = {
    "plan": plan,
    "train": train,
    "evaluate": evaluate,
    "predict": predict,
    "explain": explain,
    "export": export,
    "recipes": recipes,
    "data": data,
    "reproduce": reproduce,
    "benchmark": benchmark,
}
USAGES = {
    "evaluate": "Usage: foveal evaluate RUN [OPTIONS]",
    "predict": "Usage: foveal predict RUN IMAGES... [OPTIONS]",
    "explain": "Usage: foveal explain RUN [IMAGES...] --output PATH [OPTIONS]",
    "export": "Usage: foveal export RUN --output FILE|FOLDER | --hub ORG/NAME [OPTIONS]",
    "recipes": "Usage: foveal recipes",
}
USERS_TO_MEND = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EROFS),
    *(errno.EMFILE, errno.ENAMETOOLONG),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Args:
        arguments: without the program's name; None: those the program was called with.

    Returns:
        The exit status: 0 on success, 1 after a failure, 2 after a user's mistake, 130 after
        Ctrl-C, 143 after SIGTERM, 129 after SIGHUP.
    """
    # Pillow warns about metadata that foveal does not use; an unreadable file is reported.
    warnings.filterwarnings("ignore", category=UserWarning, module=r"PIL\.")
    _print_any_name()
    tokens = list(sys.argv[1:] if arguments is None else arguments)
    try:
        with raised():
            status = int(build_app()(tokens or ["--help"]) or SUCCESS)
        sys.stdout.flush()
        return status if tokens else complain("name a command", MISTAKE)
    except cyclopts.CycloptsError as error:
        return complain(_message(error), MISTAKE)
    except UserError as error:
        return complain(str(error), MISTAKE)
    except Failure as error:
        return complain(str(error), FAILURE)
    except KeyboardInterrupt as stop:
        status = complain(f"interrupted{f': {stop}' if str(stop) else ''}", exit_status(stop))
        try:
            sys.stdout.flush()
        except OSError:  # the terminal is gone
            _drop_output()
        return status
    except BrokenPipeError:
        _drop_output()
        return PIPE_CLOSED
    except OSError as error:
        if error.errno not in USERS_TO_MEND and not _lacks_temporary_folder():
            raise
        place = f"{error.filename}: " if error.filename else ""
        return complain(f"{place}{error.strerror}", MISTAKE)


def _drop_output() -> None:
    """Write the rest of the output nowhere; else the interpreter complains at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _lacks_temporary_folder() -> bool:
    """Whether no folder for temporary files can be written, which torch asks for."""
    try:
        return not tempfile.gettempdir()
    except FileNotFoundError:
        return True


def _print_any_name() -> None:
    """Print names that the terminal's encoding lacks, or that are not text, instead of failing."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            is_utf8 = codecs.lookup(stream.encoding).name == "utf-8"
            stream.reconfigure(errors="surrogateescape" if is_utf8 else "backslashreplace")


def build_app() -> cyclopts.App:
    """Build the parser of all commands."""
    app = new_app("", HELP)
    app.version, app.version_flags = __version__, ["--version"]
    for place, (name, command) in enumerate(COMMANDS.items()):
        usage = USAGES.get(name)
        flags = ["--help", "-h"] if usage else []  # without usage, a command shows its own help
        app.command(
            command, name=name, sort_key=place, usage=usage, help_flags=flags, version_flags=[]
        )
    return app


def _message(error: cyclopts.CycloptsError) -> str:
    """What is wrong, in one line."""
    if isinstance(error, cyclopts.UnusedCliTokensError) and error.unused_tokens:
        return f"unexpected argument {error.unused_tokens[0]!r}"
    return str(error)
