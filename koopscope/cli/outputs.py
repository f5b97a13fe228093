"""Where reports and pictures go: stdout, or files that appear complete or not at all.

Refuses, before any work is done, to touch a file that exists.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from koopscope.cli import console
from koopscope.cli.options import Option, decorated
from koopscope.errors import KoopscopeError
from koopscope.report.figure_sizes import FIGURE_SIZES, USUAL, FigureSize
from koopscope.report.pictures import (
    PICTURE_FORMATS,
    PICTURES,
    SWEEP_PICTURES,
    picture_paths,
)
from koopscope.report.registry import formats, render
from koopscope.report.text.terminal_style import Page
from koopscope.runs.atomic import drafted
from koopscope.runs.targets import check_targets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from koopscope.report.analysis_report import Report


@dataclass(frozen=True)
class Destination:
    """One report: a format, and the file it goes to; ``None`` is stdout."""

    format: str
    path: Path | None = None


def _format_option(formats: Iterable[str]) -> Option:
    """``--format FORMAT[=FILE]``, any number of times."""
    names = tuple(formats)

    def destinations(
        context: click.Context, option: click.Parameter, texts: Sequence[str]
    ) -> tuple[Destination, ...]:
        wanted = []
        for text in texts:
            name, equals, path = text.partition("=")
            if name not in names:
                raise click.BadParameter(
                    f"there is no format {name!r}; there are {', '.join(names)}"
                )
            if equals and not path:
                raise click.BadParameter(f"{text!r} names no file")
            wanted.append(Destination(name, Path(path) if path else None))
        return tuple(wanted)

    return click.option(
        "--format",
        "-f",
        "reports",
        callback=destinations,
        multiple=True,
        metavar="FORMAT[=FILE]",
        help=f"{' or '.join(names)}; repeat it to write several, all but one to files. Without a "
        "format for stdout, a table goes there.",
    )


@dataclass(frozen=True)
class Outputs:
    """Everything the user wants written.

    Attributes
    ----------
    reports
        As given; a table goes to stdout where no other format does.
    plots, plot_format, figure_size
        Folder for the pictures, or ``None``, their file format, and how wide they are.
    force
        Whether files that exist may be replaced.
    """

    reports: tuple[Destination, ...] = ()
    plots: Path | None = None
    plot_format: str = "png"
    figure_size: FigureSize = USUAL
    force: bool = False

    def check(
        self,
        runs: Sequence[str],
        pictures: Iterable[str] = tuple(PICTURES),
        *,
        inputs: Iterable[str | Path | None] = (),
        others: Sequence[Path] = (),
    ) -> None:
        """Find out before the work whether everything can be written.

        Parameters
        ----------
        runs
            As the user named them.
        pictures
            What would be drawn of each, by name.
        inputs
            Whatever else is read; ``None`` is nothing.
        others
            What the verb writes besides.

        Raises
        ------
        KoopscopeError
            If two reports would share stdout, or a file cannot be written: ``check_targets``.
        """
        to_stdout = [report.format for report in self.reports if report.path is None]
        if len(to_stdout) > 1:
            raise KoopscopeError(
                f"{' and '.join(to_stdout)} cannot both go to stdout",
                f"give all but one a file, such as --format {to_stdout[-1]}=FILE",
            )
        files = [report.path for report in self.reports if report.path is not None]
        read = [*runs, *(name for name in inputs if name is not None)]
        check_targets([*files, *others], read, force=self.force)
        if self.plots is not None:
            if self.plots.exists() and not self.plots.is_dir():
                raise KoopscopeError(f"{self.plots} is not a folder", "name a folder for --plots")
            several = len(runs) > 1
            drawn = picture_paths(runs, self.plots, self.plot_format, several, pictures)
            files += [path for run in drawn for path in run.values()]
            if several:
                files += [self._sweep_picture(self.plots, name) for name in SWEEP_PICTURES]
            check_targets([*files, *others], read, force=self.force, folders_are_made=True)

    def write(self, report: Report) -> None:
        """Write everything; files first, so that a closed pipe costs none of them."""
        if self.plots is not None:
            self._draw(report, self.plots)
        self.write_reports("analysis", report)

    def write_reports(self, kind: str, data: Any) -> None:
        """Write a report, one of ``koopscope.report.registry.REPORTS``; files before stdout."""
        for wanted in self.reports:
            if wanted.path is not None:
                write_file(wanted.path, render(kind, data, wanted.format, Page()).encode())
                console.say_more(f"wrote {wanted.path}")
        to_stdout = [wanted.format for wanted in self.reports if wanted.path is None]
        form = to_stdout[0] if to_stdout else formats(kind)[0]
        console.result(render(kind, data, form, console.page()), commands=form == "github")

    def write_picture(self, name: str, figure: Callable[[], Figure]) -> None:
        """Draw one figure into the folder for pictures, if there is one."""
        if self.plots is None:
            return
        from koopscope.report.figures.style import styled, to_bytes

        path = self.plots / f"{name}.{self.plot_format}"
        with styled(self.figure_size):
            content = to_bytes(figure(), self.plot_format)
        write_file(path, content)
        console.say_more(f"wrote {path}")

    def _sweep_picture(self, folder: Path, name: str) -> Path:
        return folder / f"{name}.{self.plot_format}"

    def _draw(self, report: Report, folder: Path) -> None:
        from koopscope.report.pictures import draw, draw_sweep, sweep_pictures

        runs = [diagnosis.analysis.description.path for diagnosis in report.diagnoses]
        everything = picture_paths(runs, folder, self.plot_format, not report.is_single)
        for diagnosis, paths in zip(report.diagnoses, everything, strict=True):
            for name, path in paths.items():
                write_file(path, draw(name, diagnosis, self.plot_format, self.figure_size))
                console.say_more(f"wrote {path}")
        for name in sweep_pictures(report):
            path = self._sweep_picture(folder, name)
            write_file(path, draw_sweep(name, report, self.plot_format, self.figure_size))
            console.say_more(f"wrote {path}")


def output_options(verb: Callable[..., Any]) -> Callable[..., Any]:
    """Add --format, --plots, --plot-format and --force to a verb; it receives one ``outputs``."""

    @functools.wraps(verb)
    def with_outputs(*arguments: Any, **options: Any) -> Any:
        names = ("reports", *_FIGURE_OPTIONS, "force")
        outputs = Outputs(**{name: options.pop(name) for name in names})
        return verb(*arguments, outputs=outputs, **options)

    return decorated(with_outputs, _OUTPUT_OPTIONS)


def report_options(*formats: str, figures: bool = False) -> Option:
    """Add --format and --force to a verb, and what ``figures`` take; it receives ``outputs``."""
    plots = _OUTPUT_OPTIONS[1:-1] if figures else ()

    def decorate(verb: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(verb)
        def with_outputs(*arguments: Any, **options: Any) -> Any:
            names = ("reports", "force", *(_FIGURE_OPTIONS if figures else ()))
            outputs = Outputs(**{name: options.pop(name) for name in names})
            return verb(*arguments, outputs=outputs, **options)

        return decorated(with_outputs, (_format_option(formats), *plots, force_option))

    return decorate


#: Of every verb that writes files.
force_option = click.option("--force", is_flag=True, help="Replace outputs that exist already.")

#: What the options of figures are called as fields of ``Outputs``.
_FIGURE_OPTIONS = ("plots", "plot_format", "figure_size")

_OUTPUT_OPTIONS = (
    _format_option(formats("analysis")),
    click.option(
        "--plots",
        type=click.Path(path_type=Path),
        metavar="DIR",
        help="Draw figures into this folder.",
    ),
    click.option(
        "--plot-format",
        type=click.Choice(PICTURE_FORMATS),
        default=PICTURE_FORMATS[0],
        show_default=True,
        help="File format of the figures.",
    ),
    click.option(
        "--figure-size",
        type=click.Choice(FIGURE_SIZES),
        default=USUAL,
        show_default=True,
        help="Width of the figures: a page of text (7 in), or one of its two columns (3.35 in).",
    ),
    force_option,
)


def write_file(path: Path, content: bytes) -> None:
    """Write a file so that at any moment it is the old one or the new one, complete.

    Its folder is made if need be.

    Raises
    ------
    KoopscopeError
        If the system refuses.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a pipe, or a device such as /dev/null
            path.write_bytes(content)
            return
        with drafted(path) as draft:
            draft.write_bytes(content)
    except OSError as error:
        raise KoopscopeError(
            f"cannot write {path}: {error.strerror}", "check free space and permissions"
        ) from error
