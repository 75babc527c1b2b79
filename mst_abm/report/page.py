"""A page of words, tables and pictures as one HTML file that needs no network; Jinja2 escapes every text.

What stands on a page is decided elsewhere (`story`, `cohort`); here it becomes HTML.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mst_abm.errors import RecordError
from mst_abm.extras import needs
from mst_abm.records.atomic import written
from mst_abm.records.places import MARK

_TEMPLATES = Path(__file__).parent / "templates"


@dataclass(frozen=True)
class Table:
    """Rows of text under a header; ``numeric``: columns that are set right."""

    caption: str
    header: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    numeric: tuple[int, ...] = ()


@dataclass(frozen=True)
class Figure:
    """A still picture (a data address), and what moves in its place on screen.

    ``kind``: "panel" or "points", what the script of the page makes of ``live``; "" nothing.
    """

    caption: str
    alt: str
    still: str
    kind: str = ""
    live: Any = None


@dataclass(frozen=True)
class Fold:
    """What is shown on request: a text as it is, or tables. ``is_printed``: opened on paper."""

    title: str
    text: str = ""
    tables: list[Table] = field(default_factory=list)
    is_printed: bool = False


@dataclass(frozen=True)
class Link:
    """A file beside the page."""

    address: str
    words: str


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it, in this order."""

    title: str
    text: list[str] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    folds: list[Fold] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)

    @property
    def key(self) -> str:
        """Name of the section in addresses."""
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


@dataclass(frozen=True)
class Page:
    """A whole page; ``facts``: name and value of what must be seen first."""

    title: str
    lead: str
    facts: list[tuple[str, str]]
    sections: list[Section]


def render(page: Page) -> str:
    """The page as HTML, with script, style and pictures inside.

    Raises
    ------
    MissingPackageError
        If Jinja2 or plotly is not installed.
    """
    jinja2 = needs("jinja2", "report")
    plotly = needs("plotly.offline", "report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    is_live = any(figure.kind for section in page.sections for figure in section.figures)
    return str(
        environment.get_template("page.html").render(
            page=page,
            mark=MARK,
            style=_own("page.css"),
            script=_own("page.js"),
            plotly=plotly.get_plotlyjs() if is_live else "",
        )
    )


def write_page(page: Page, path: str | os.PathLike[str]) -> None:
    """Write a page under a temporary name and rename it.

    Raises
    ------
    RecordError
        If a library is missing or the file cannot be written.
    """
    text = render(page)
    try:
        with written(Path(path)) as unfinished:
            unfinished.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecordError(f"{path}: the page could not be written ({error}).") from error


def _own(name: str) -> str:
    return (_TEMPLATES / name).read_text(encoding="utf-8")
