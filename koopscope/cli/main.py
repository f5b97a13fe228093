"""The ``koopscope`` command: its verbs, its exit codes, and the one place where errors become text.

A verb's module is imported only when it is called, so that ``--help`` stays instant.
"""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from importlib import import_module
from typing import NoReturn

import click

from koopscope._version import __version__
from koopscope.cli import console, interruption
from koopscope.cli.exit_codes import COULD_NOT, INTERRUPTED
from koopscope.errors import KoopscopeError

#: verb -> (module with a click ``command``, one line for ``--help``), in the order of use.
VERBS = {
    "inspect": ("koopscope.cli.inspect", "Show what is in a run, without judging it."),
    "analyze": (
        "koopscope.cli.analyze",
        "Judge how training went: findings and spectrum of a run.",
    ),
    "check": ("koopscope.cli.check", "Pass or fail training runs in CI: exit 1 if a rule fails."),
    "explain": (
        "koopscope.cli.explain",
        "Explain a rule: what it asks, how right it is, its limits.",
    ),
    "compare": (
        "koopscope.cli.compare",
        "Tell whether trainings are the same dynamics, and where they part.",
    ),
    "history": ("koopscope.cli.history", "List many runs, one row each: date, verdicts, numbers."),
    "prune": ("koopscope.cli.prune", "Choose weights to remove, and write masks of the rest."),
    "average": (
        "koopscope.cli.average",
        "Average the last snapshots, and say whether that helps.",
    ),
    "forecast": (
        "koopscope.cli.forecast",
        "Predict later weights, and tell how far ahead to trust it.",
    ),
    "restore": (
        "koopscope.cli.restore",
        "Write the weights of a step, the best, or the last healthy.",
    ),
    "modes": ("koopscope.cli.modes", "Write modes to a file, in the shapes of the weights."),
    "convert": ("koopscope.cli.convert", "Turn checkpoints of other programs into a run file."),
    "watch": ("koopscope.cli.watch", "Show a live panel while a run is being recorded."),
    "depth": ("koopscope.cli.depth", "Estimate from data how many layers a model needs."),
    "contraction": (
        "koopscope.cli.contraction",
        "Find the fixed point of a layer that is iterated.",
    ),
    "report": ("koopscope.cli.report", "Make a site of HTML pages about many runs."),
    "mcp": ("koopscope.cli.mcp", "Answer the questions of agents about runs, read-only."),
}


def _note_flag(ctx: click.Context, option: click.Parameter, given: bool) -> None:
    """Add a flag that stands behind the verb to those that stand before it."""
    if given and option.name is not None:
        ctx.obj = replace(ctx.find_object(console.Flags) or console.Flags(), **{option.name: True})


def _flags_behind_the_verb() -> list[click.Parameter]:
    """Return the flags that every verb shares, as hidden options of a verb."""
    return [
        click.Option(names, is_flag=True, hidden=True, expose_value=False, callback=_note_flag)
        for names in (["-q", "--quiet"], ["-v", "--verbose"], ["--debug"])
    ]


class _LazyGroup(click.Group):
    """A group that knows its verbs' one-line help without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command: click.Command = import_module(VERBS[cmd_name][0]).command
        own = {parameter.name for parameter in command.params}
        command.params += [flag for flag in _flags_behind_the_verb() if flag.name not in own]
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, line) for verb, (_, line) in VERBS.items()])

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            raise KoopscopeError(f"koopscope has no command {args[0]!r}", _verb_hint(args[0]))
        return super().resolve_command(ctx, args)


def _verb_hint(wrong: str) -> str:
    from difflib import get_close_matches

    close = get_close_matches(wrong, VERBS, n=1)
    if close:
        return f"did you mean `koopscope {close[0]}`?"
    if os.path.exists(wrong):
        return f"to analyse the file: koopscope analyze {wrong}"
    return f"the commands are: {', '.join(VERBS)}"


@click.group(
    cls=_LazyGroup,
    no_args_is_help=False,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"]},
)
@click.version_option(__version__, message="koopscope %(version)s")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing on stderr but errors.")
@click.option("-v", "--verbose", is_flag=True, help="Say more on stderr.")
@click.option("--debug", is_flag=True, help="Show a traceback for every error.")
@click.pass_context
def cli(ctx: click.Context, quiet: bool, verbose: bool, debug: bool) -> None:
    """Read a recorded weight trajectory and tell, from its Koopman spectrum, how training went.

    A run file is recorded with koopscope.Recorder; see the README.
    """
    ctx.obj = console.Flags(quiet=quiet, verbose=verbose, debug=debug)
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())


def main(arguments: list[str] | None = None) -> NoReturn:
    """Run the command line and exit: 0 done, 1 ``check`` found something, 2 could not do it.

    What a user started works in a child process (see ``koopscope.cli.containment``); with arguments
    given, or ``--debug``, it works in this one.
    """
    # Small matrices are no work for OpenBLAS's threads, so it need not start any; who has work for
    # them asks (koopscope._threads). Said before NumPy is loaded, because it looks only then.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    words = sys.argv[1:] if arguments is None else arguments
    console.set_up()
    if "--debug" in words:
        from koopscope.runs.hdf5.structure import without_walks

        without_walks()
    elif arguments is None and _reads_files(words):
        from koopscope.cli.containment import can_contain, contain

        if can_contain():
            os._exit(contain(lambda: _done(words), console.complain))
    if signal.getsignal(signal.SIGINT) == signal.SIG_DFL:  # as koopscope_command leaves it
        interruption.listen()
    sys.exit(_done(words))


def _reads_files(words: list[str]) -> bool:
    verb = next((word for word in words if not word.startswith("-")), "explain")
    return verb in VERBS and verb != "explain" and not {"-h", "--help"} & set(words)


def _done(words: list[str]) -> int:
    """Run the command line, whatever happens, and return the exit code."""
    if "--debug" in words:
        code = _run(words)
    else:
        try:
            code = _run(words)
        except KeyboardInterrupt:
            code = _complain("interrupted", None, INTERRUPTED)
        except OSError as error:
            where = f"{error.filename}: " if error.filename is not None else ""
            code = _complain(
                f"{where}{error.strerror or error}", "check the disk's free space and permissions"
            )
        except MemoryError as error:
            code = _complain(
                f"memory ran out: {error or 'no more could be had'}",
                "look at fewer snapshots with --window, or at fewer tensors with --include",
            )
        except Exception as error:  # the last line of defence: no traceback reaches a user
            code = _complain(
                f"{type(error).__name__}: {error}",
                "this is a fault of koopscope; `koopscope --debug ...` shows where it happened",
            )
        if code != INTERRUPTED and interruption.taken():
            code = _complain("interrupted", None, INTERRUPTED)
    _close_streams()
    return code


def _run(words: list[str]) -> int:
    stdout = sys.stdout
    try:
        code = cli.main(args=words, prog_name="koopscope", standalone_mode=False)
        sys.stdout.flush()
        return code if isinstance(code, int) else 0
    except click.exceptions.Exit as stop:
        return int(stop.exit_code)
    except click.Abort:
        return _complain("interrupted", None, INTERRUPTED)
    except click.UsageError as error:
        where = error.ctx.command_path if error.ctx else "koopscope"
        return _complain(_sentence(error.format_message()), f"see `{where} --help`")
    except click.ClickException as error:
        return _complain(_sentence(error.format_message()), None)
    except BrokenPipeError:  # the reader has seen enough (`| head`); it is none of ours
        return 0
    except SystemExit as stop:
        # Where the reader left, click wraps stdout and exits with 1; any other code is kept.
        if sys.stdout is not stdout:
            return 0
        return stop.code if isinstance(stop.code, int) else int(stop.code is not None)
    except KoopscopeError as error:
        if "--debug" in words:
            raise
        return _complain(error.message, error.hint)


def _sentence(text: str) -> str:
    text = text.rstrip(".")
    return text[:1].lower() + text[1:]


def _complain(message: str, hint: str | None, code: int = COULD_NOT) -> int:
    if interruption.taken() and code != INTERRUPTED:  # what it made of a call that was broken off
        message, hint, code = "interrupted", None, INTERRUPTED
    console.complain(message, hint)
    return code


def _close_streams() -> None:
    """Flush what is left; a reader that has gone or a full disk must not turn into a traceback."""
    try:
        sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
