"""A folder of pages that opens from disk: an index, a page for every run; only what changed is new.

What was judged before is told by the size and time of the run's files, kept beside the index.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from koopscope._version import __version__
from koopscope.diagnostics.diagnosis import Diagnosis
from koopscope.errors import KoopscopeError
from koopscope.history.rows import row_of
from koopscope.report.analysis_report import Report
from koopscope.report.html.analysis import render
from koopscope.report.html.index import Entry, index_page
from koopscope.report.text.terminal_style import Page

#: What the site keeps beside its index, and its form.
KEPT = "koopscope-site.json"
_FORM = 1


#: What a page is called; a record that says anything else was not written here.
_PAGE = re.compile(r"runs/[A-Za-z0-9._-]+\.html")

#: Of a run's name, how much its page's name has.
_STEM = 60


@dataclass
class Site:
    """A folder of pages.

    Attributes
    ----------
    folder
        Where it is, or will be.
    entries
        By a run's resolved path: what it was judged from, its row and its page.
    """

    folder: Path
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def at(cls, folder: Path) -> Site:
        """Return the site in a folder, or an empty one.

        Raises
        ------
        KoopscopeError
            If the folder holds other things and no site, or its record cannot be read.
        """
        if folder.exists() and not folder.is_dir():
            raise KoopscopeError(f"{folder} is not a folder", "name a folder for the site")
        kept = folder / KEPT
        if not kept.is_file():
            if folder.is_dir() and any(folder.iterdir()):
                raise KoopscopeError(
                    f"{folder} holds other files and no site of koopscope",
                    "name an empty folder, or one that does not exist yet",
                )
            return cls(folder)
        try:
            known = json.loads(kept.read_text("utf-8"))
            entries = known["runs"] if known["form"] == _FORM else {}
            for entry in entries.values():
                if not _PAGE.fullmatch(Entry.read(entry).page):
                    raise ValueError
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            raise KoopscopeError(
                f"{kept} is not the record of a site", f"remove {folder} and make the site anew"
            ) from None
        return cls(folder, dict(entries))

    def is_known(self, path: str, files: Sequence[Path]) -> bool:
        """Whether a run has a page that was made of these very files."""
        entry = self.entries.get(_key(path))
        return (
            entry is not None
            and entry["made_of"] == _stamp(files)
            and (self.folder / entry["page"]).is_file()
        )

    def page(self, diagnosis: Diagnosis, path: str, files: Sequence[Path]) -> tuple[Path, str]:
        """Note a run that was judged, and return the file of its page and what stands in it."""
        digest = hashlib.sha256(_key(path).encode()).hexdigest()[:10]
        stem = Path(path.partition(" ... ")[0]).stem[:_STEM] or "run"
        name = f"runs/{_file_name(stem)}-{digest}.html"
        newest = max(
            (file for file in files if file.exists()),
            key=lambda file: file.stat().st_mtime_ns,
            default=None,
        )
        entry = Entry(row_of(diagnosis, newest), name)
        self.entries[_key(path)] = {"made_of": _stamp(files), **entry.plain()}
        return self.folder / name, render(Report((diagnosis,)), Page())

    def index(self) -> dict[Path, str]:
        """Return the index and the record by their files; the latest runs come first."""
        entries = [Entry.read(kept) for kept in self.entries.values()]
        entries.sort(key=lambda entry: entry.row.path)
        entries.sort(key=lambda entry: entry.row.date, reverse=True)
        record = {"form": _FORM, "runs": dict(sorted(self.entries.items()))}
        return {
            self.folder / "index.html": index_page(entries),
            self.folder / KEPT: json.dumps(record, indent=1, allow_nan=False) + "\n",
        }


def _key(path: str) -> str:
    return str(Path(path).resolve())


def _stamp(files: Sequence[Path]) -> list[Any]:
    """Return what tells whether a run's pages are out of date: the version, sizes and times."""
    stats = [(file.name, file.stat()) for file in files if file.exists()]
    return [__version__, *([name, stat.st_size, stat.st_mtime_ns] for name, stat in stats)]


def _file_name(stem: str) -> str:
    """Return a name that every file system and every URL takes as it is."""
    return "".join(
        sign if sign.isascii() and (sign.isalnum() or sign in "-_.") else "_" for sign in stem
    )
