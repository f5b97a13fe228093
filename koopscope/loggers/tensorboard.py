"""Log a run's findings to TensorBoard's event files."""

from __future__ import annotations

from os import PathLike, fspath
from typing import Any

from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.errors import KoopscopeError
from koopscope.loggers.entries import PREFIX, Entries, entries_of, no_harm, tracker


def log_to_tensorboard(
    diagnosis: Diagnosis | str | PathLike[str],
    writer: Any,
    *,
    step: int | None = None,
    pictures: bool = True,
) -> None:
    """Log a run's findings, numbers and pictures to TensorBoard.

    TensorBoard shows no files: the findings are a table of its text page, and the reports are not
    logged.

    Parameters
    ----------
    diagnosis
        What ``koopscope.analyze`` returned, or a run to analyze.
    writer
        A ``SummaryWriter`` of PyTorch or tensorboardX, which stays open; or the folder of the log,
        for which a writer is opened and closed again.
    step
        The optimizer step to log at; the last one that was analysed if not given.
    pictures
        Whether to log the pictures, too.

    Raises
    ------
    KoopscopeError
        If the run cannot be read, the writer is none, or no package is there to open one.
    """
    if isinstance(writer, (str, PathLike)):
        opener = _opener()
        entries = entries_of(diagnosis, step, pictures)
        with no_harm("TensorBoard"), opener(fspath(writer)) as opened:
            _write(opened, entries)
        return
    if not all(hasattr(writer, name) for name in ("add_scalar", "add_text", "add_image")):
        raise KoopscopeError(
            f"{type(writer).__name__} is no writer of TensorBoard's events",
            "give a SummaryWriter, or the folder of the log",
        )
    entries = entries_of(diagnosis, step, pictures)
    with no_harm("TensorBoard"):
        _write(writer, entries)


def _write(writer: Any, entries: Entries) -> None:
    for name, value in entries.numbers.items():
        writer.add_scalar(name, value, entries.step)
    writer.add_text(f"{PREFIX}/findings", entries.markdown, entries.step)
    for name, image in entries.pictures.items():
        writer.add_image(name, image, entries.step, dataformats="HWC")
    writer.flush()


def _opener() -> Any:
    try:
        return tracker("torch.utils.tensorboard", "tensorboard").SummaryWriter
    except KoopscopeError as missing:
        try:
            return tracker("tensorboardX", "tensorboard").SummaryWriter
        except KoopscopeError:
            raise missing from None
