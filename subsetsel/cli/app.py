"""The commands put together, and the one place where errors become exit codes."""

from __future__ import annotations

import warnings
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from subsetsel.cli.about import info, solvers
from subsetsel.cli.compare import compare
from subsetsel.cli.compare_solvers import compare_solvers
from subsetsel.cli.console import ExitCode, print_note, print_text
from subsetsel.cli.demo import demo
from subsetsel.cli.interrupt import MESSAGE, is_interrupt, raises_interrupt
from subsetsel.cli.prune import prune
from subsetsel.cli.report import report
from subsetsel.cli.select import select
from subsetsel.cli.solve import solve
from subsetsel.cli.stdin import temporary_files
from subsetsel.cli.verify import verify
from subsetsel.errors import SubsetselError


class _Group(TyperGroup):
    """Turns what goes wrong into one line on stderr and an exit code."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            warnings.showwarning = _show_warning
            try:
                with temporary_files(), raises_interrupt():
                    return super().invoke(ctx)
            except KeyboardInterrupt:
                print_note(MESSAGE)
                raise typer.Exit(ExitCode.INTERRUPTED) from None
            except MemoryError as error:
                print_note(f"error: out of memory{f': {error}' if str(error) else ''}")
            except SubsetselError as error:
                print_note(f"error: {error}")
            except OSError as error:
                print_note(f"error: {error.strerror or error}: {error.filename or 'no file name'}")
            except (ImportError, SystemError) as error:
                if not is_interrupt(error):
                    raise
                print_note(MESSAGE)
                raise typer.Exit(ExitCode.INTERRUPTED) from None
            raise typer.Exit(ExitCode.BAD_INPUT)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print_note(f"warning: {message}")


def _print_version(is_wanted: bool) -> None:
    if is_wanted:
        from importlib.metadata import version

        print_text(f"subsetsel {version('subsetsel')}")
        raise typer.Exit


app = typer.Typer(
    cls=_Group,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@app.callback()
def options(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Show it and exit."),
    ] = False,
) -> None:
    """Find the training examples that can be left out, together.

    \b
    Start with:
      subsetsel demo
      subsetsel prune data.npz --l2 1e-3 --rel-epsilon 0.01 --out pruned.npz

    \b
    Exit codes:
      0    done
      1    no subset satisfies the limits, or the check by exact refit fails
      2    bad input
      130  interrupted; the best subset so far is saved
    """


for _command in (
    *(demo, prune, verify, solve, compare_solvers),
    *(select, compare, report, solvers, info),
):
    app.command(no_args_is_help=False)(_command)
