"""The page of a run: whole without a network, every text as it is, drawn in a real browser."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from fake_simulation import FakeSimulation, make_scenario
from worlds import lattice, plain, rule, world

from mst_abm.cli import main
from mst_abm.clinic.intervals import median_of, share_of
from mst_abm.errors import MissingPackageError
from mst_abm.records.reader import open_run
from mst_abm.report.panels import panels_of
from mst_abm.runs.to_file import run_to_file

pytest.importorskip("jinja2")
pytest.importorskip("plotly")
from mst_abm.report.page import Figure, Fold, Link, Page, Section, Table, render
from mst_abm.report.story import report_run

EVIL = "<script>document.title='taken'</script> & \"$x$\" <img src=x onerror=\"document.title='taken'\">"


def evil_world():
    """Prey and killers whose rules have names that would be code on a page that trusts them."""
    rules = [
        rule("die", "prey", 0.05, name=EVIL),
        rule("contact", "killer + prey -> killer + empty", 0.5, name=f"kill {EVIL}"),
        rule("move", "killer", 2.0, name="walk"),
    ]
    return world(
        rules,
        {"box": lattice(8, 8, 8)},
        {"box": {"prey": 200, "killer": 40}},
        types=plain("prey", "killer"),
        until=6.0,
        record=1.0,
        name=EVIL,
        run_options={"record": {"counts": "1 h", "snapshots": "2 h"}},
    )


@pytest.fixture(scope="module")
def evil_page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    run_to_file(evil_world(), folder / "run.h5")
    report_run(folder / "run.h5", folder / "run.html")
    return folder / "run.html"


class Elements(HTMLParser):
    """Every element of a page with its attributes, and whether all that open are closed."""

    VOID = ("meta", "img", "br", "link")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, tag

    def of(self, tag: str) -> list[dict]:
        return [attributes for name, attributes in self.found if name == tag]


def test_the_page_is_whole_and_loads_nothing(evil_page):
    text = evil_page.read_text(encoding="utf-8")
    page = Elements(text)
    assert page.open == [] and page.of("html")[0]["lang"] == "en-GB"
    assert not page.of("link") and not page.of("iframe")
    assert all("src" not in script for script in page.of("script"))
    images = page.of("img")
    assert len(images) > 4 and all(image["src"].startswith("data:image/") for image in images)
    assert all(image["alt"] for image in images)
    assert "default-src 'none'" in page.of("meta")[1]["content"]
    headings = {"What was simulated", "Time courses", "Cells in space", "Deaths by rule"}
    assert headings <= set(re.findall(r"<h2[^>]*>([^<]*)</h2>", text))
    assert all(header.get("scope") in ("col", "row") for header in page.of("th"))
    assert [link["href"] for link in page.of("a")][-1] == "run.h5"


def test_names_of_people_are_text_and_nothing_else(evil_page):
    page = Elements(evil_page.read_text(encoding="utf-8"))
    assert not [a for _, a in page.found if "onerror" in a]
    assert not [a for a in page.of("img") if a["src"] == "x"]
    assert EVIL not in evil_page.read_text(encoding="utf-8")


def test_every_place_of_a_page_takes_a_text_as_it_is():
    """Cell, header, caption, fact, summary, link and picture: a browser would show the text and nothing else."""
    table = Table(EVIL, (EVIL, EVIL), [(EVIL, EVIL)], (1,))
    figure = Figure(EVIL, EVIL, "data:image/png;base64,", "panel", {"lines": [], "label": EVIL})
    folds, links = [Fold(EVIL, EVIL, [table])], [Link(EVIL, EVIL)]
    section = Section(EVIL, [EVIL], [table], [figure], folds, links)
    text = render(Page(EVIL, EVIL, [(EVIL, EVIL)], [section]))
    page = Elements(text)
    # its own data, its library and its script
    assert page.open == [] and len(page.of("script")) == 3 and len(page.of("img")) == 1
    assert not [a for _, a in page.found if "onerror" in a]
    assert EVIL not in text


def test_the_same_record_gives_the_same_page(evil_page, tmp_path):
    again = evil_page.with_name("again.html")
    report_run(evil_page.with_name("run.h5"), again)
    assert again.read_bytes() == evil_page.read_bytes()


def test_the_numbers_of_the_page_are_those_of_the_record(tmp_path):
    simulation = FakeSimulation(make_scenario(), replicates=1)
    run_to_file(simulation.scenario, tmp_path / "run.h5", simulation=simulation)
    report_run(tmp_path / "run.h5", tmp_path / "run.html")
    text = (tmp_path / "run.html").read_text(encoding="utf-8")
    assert "1 of 2 numbers" in text and "cytarabine" in text
    data = re.findall(r'<script type="application/json">(.*?)</script>', text, re.S)
    lines = {
        line["name"]: line
        for item in map(json.loads, data)
        if isinstance(item, dict)
        for line in item["lines"]
    }
    with open_run(tmp_path / "run.h5") as run:
        panels = panels_of(run)
        expected = {line.label: line for panel in panels for line in panel.lines}
    assert set(lines) == set(expected)
    for name, line in lines.items():
        assert line["values"] == pytest.approx(expected[name].middle.tolist(), rel=1e-4)
        assert line["colour"] == expected[name].colour


def test_a_page_without_records_or_with_an_older_model_still_comes(tmp_path):
    from mst_abm.records.writer import RunWriter
    from mst_abm.runs.to_file import header_of

    simulation = FakeSimulation()
    with RunWriter(
        tmp_path / "b.h5", header_of(simulation, seed=1, replicates=np.arange(1))
    ) as writer:
        writer.append_record(simulation)
    report_run(tmp_path / "b.h5", tmp_path / "b.html")
    text = (tmp_path / "b.html").read_text(encoding="utf-8")
    assert "another version of the package" in text and "was interrupted" not in text


def test_intervals_hold_what_they_say():
    assert share_of(5, 10).low == pytest.approx(0.2366, abs=1e-4)  # Wilson 1927
    values = np.arange(1.0, 20.0)
    # order statistics 5 and 15 of 19 hold the median with 98 %, 6 and 14 with 93.6 %
    assert median_of(values) == (10.0, 5.0, 15.0)
    assert np.isnan(median_of(values[:5]).low)


def test_panels_of_several_records_are_joined(tmp_path):
    for seed in (1, 2):
        run_to_file(evil_world(), tmp_path / f"{seed}.h5", seed=seed)
    with open_run(tmp_path / "1.h5") as one, open_run(tmp_path / "2.h5") as two:
        both = panels_of(one, two)
        single = {line.label: line.values for panel in panels_of(two) for line in panel.lines}
    for panel in both:
        for line in panel.lines:
            assert line.values.shape == (2, 7)
            assert np.array_equal(line.values[1], single.get(line.label, np.zeros((1, 7)))[0])


def test_a_missing_library_is_one_sentence(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "jinja2", None)
    with pytest.raises(MissingPackageError, match=r"pip install 'mst-abm\[report\]'"):
        render(Page("a", "b", [], []))


# ------------------------------------------------------------------ in a browser


def browser() -> str | None:
    return next(
        (w for n in ("chromium", "chromium-browser", "google-chrome") if (w := shutil.which(n))),
        None,
    )


@pytest.fixture
def dump(tmp_path):
    """A page as a browser has it after its scripts ran."""
    if browser() is None:
        pytest.skip("needs a Chromium browser")

    def read(path: Path) -> str:
        done = subprocess.run(
            [browser(), "--headless=new", "--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader",
             f"--user-data-dir={tmp_path / 'profile'}", "--virtual-time-budget=30000", "--dump-dom", path.as_uri()],
            capture_output=True, text=True, check=True, timeout=180,
        )  # fmt: skip
        return done.stdout

    return read


def test_a_browser_draws_everything_and_runs_nobody_elses_code(evil_page, dump):
    text = dump(evil_page)
    page = Elements.__new__(Elements)
    HTMLParser.__init__(page)
    page.found, page.open = [], []
    page.handle_endtag = lambda tag: None  # a browser leaves out what may be left out
    page.feed(text)
    live = [a for a in page.of("figure") if "data-kind" in a]
    assert {a["data-kind"] for a in live} == {"panel", "points"}
    assert [a.get("data-drawn") for a in live] == ["yes"] * len(live)
    assert not [a for a in page.of("img") if a.get("src") == "x"]
    title = re.search(r"<title>(.*?)</title>", text, re.S).group(1)
    assert title != "taken" and title.startswith("&lt;script&gt;")
    assert text.count('class="main-svg"') >= len(live)


def test_what_is_only_on_screen_is_not_printed(evil_page, tmp_path):
    if browser() is None or not shutil.which("pdftotext"):
        pytest.skip("needs a Chromium browser and pdftotext")
    subprocess.run(
        [browser(), "--headless=new", "--no-sandbox", f"--user-data-dir={tmp_path / 'p'}", "--virtual-time-budget=30000",
         "--no-pdf-header-footer", f"--print-to-pdf={tmp_path / 'page.pdf'}", evil_page.as_uri()],
        capture_output=True, check=True, timeout=180,
    )  # fmt: skip
    text = subprocess.run(
        ["pdftotext", "-layout", tmp_path / "page.pdf", "-"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Deaths by rule" in text and "what it says" in text and "walk" in text
    assert "Scenario as it was run" not in text  # pages of YAML are for the screen


def test_a_name_that_is_nowhere_is_said_to_be(tmp_path):
    result = CliRunner().invoke(main, ["report", str(tmp_path / "none.h5")])
    assert result.exit_code == 2
    assert result.output == (
        f"{tmp_path / 'none.h5'}: expected a record or a folder of records, there is none; check the name.\n"
    )
