"""The frame of every HTML report: head, style, script, and the data as JSON.

The page asks for nothing outside itself: a content security policy forbids it.
"""

from __future__ import annotations

import base64
import hashlib
import json
from functools import cache
from importlib import resources
from typing import Any

from koopscope._version import __version__
from koopscope.markup import Markup, element, escaped
from koopscope.report.envelope import JsonObject


def document(title: str, body: Markup, data: JsonObject | None = None) -> str:
    """Return a whole page.

    Parameters
    ----------
    title
        Of the window; escaped.
    body
        The content of ``main``.
    data
        Plain JSON values, kept inside the page for programs; ``None`` keeps none.
    """
    style, script = _part("page.css"), _part("page.js")
    policy = (
        "default-src 'none'; "
        f"style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "img-src data:; base-uri 'none'; form-action 'none'"
    )
    kept = (
        Markup(f'<script type="application/json" id="koopscope-data">{_data(data)}</script>\n')
        if data is not None
        else Markup("")
    )
    footer = element("p", f"Made by koopscope {__version__}.", class_="faint")
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{escaped(policy)}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escaped(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n"
        f"{element('main', body)}\n{element('footer', footer)}\n{kept}"
        f"<script>{script}</script>\n</body>\n</html>\n"
    )


@cache
def _part(name: str) -> str:
    return (resources.files("koopscope.report.html") / name).read_text("utf-8")


def _hash(content: str) -> str:
    digest = hashlib.sha256(content.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _data(data: Any) -> str:
    """Return JSON that cannot end the element it stands in, nor begin another."""
    text = json.dumps(data, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
