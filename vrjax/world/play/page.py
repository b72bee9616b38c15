"""The page: one document whose style and script are in it. What comes from a person is escaped; it asks for nothing."""

import functools
import html
import pathlib
import re

FOLDER = pathlib.Path(__file__).parent / "templates"


@functools.cache
def _part(name: str) -> str:
    return (FOLDER / name).read_text("utf-8")


def document(title: str, note: str, nonce: str) -> str:
    """The document.

    Args:
        title, note: plain text.
        nonce: of this answer, which its policy names.
    """
    told = {"TITLE": html.escape(title), "NOTE": html.escape(note), "NONCE": html.escape(nonce)}
    told |= {"STYLE": _part("drive.css"), "SCRIPT": _part("drive.js")}
    # In one pass: what is filled in is not searched for names.
    return re.sub("@([A-Z]+)@", lambda found: told[found[1]], _part("drive.html"))


def policy(nonce: str, host: str) -> str:
    """The Content-Security-Policy of the document: its own style and script, its own socket, nothing else."""
    rules = {
        "default-src": "'none'",
        "script-src": f"'nonce-{nonce}'",
        "style-src": f"'nonce-{nonce}'",
        "img-src": "data:",
        "connect-src": f"ws://{host}",
        "base-uri": "'none'",
        "form-action": "'none'",
        "frame-ancestors": "'none'",
    }
    return "; ".join(f"{name} {value}" for name, value in rules.items())
