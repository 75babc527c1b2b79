"""Seeds and the report of proofs: ``--seed`` and ``--proofs``, as `make verify` uses them.

Also, shipped models are parsed once for all tests: that is most of what loading a scenario takes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import proof
import pytest
from proof_report import Report
from worlds import SEED_VARIABLE

from mst_abm.scenario import document, loading, merging

MODELS = Path(merging.__file__).resolve().parents[1] / "models"


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("proofs")
    group.addoption("--seed", help="seed of all proofs: a number, or 'fresh'; fixed ones if absent")
    group.addoption("--proofs", metavar="FOLDER", help="write report.md and figures of the proofs")


def pytest_configure(config: pytest.Config) -> None:
    asked = config.getoption("--seed")
    if asked:
        seed = secrets.randbelow(2**31) if asked == "fresh" else int(asked)
        # the environment reaches the processes that some tests start
        os.environ[SEED_VARIABLE] = str(seed)
    if folder := config.getoption("--proofs"):
        config.pluginmanager.register(Gatherer(Path(folder), asked or ""))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item):
    with proof.recording(item):
        return (yield)


@pytest.fixture(scope="session", autouse=True)
def _shipped_models_are_parsed_once() -> Iterator[None]:
    """Everybody gets a copy, as from a file; what is no shipped model may change and is read anew."""
    parsed = cache(document.read_file)

    def read(path: Path) -> document.Node:
        is_shipped = path.parent == MODELS
        return parsed(path).copy() if is_shipped else document.read_file(path)

    with pytest.MonkeyPatch.context() as patch:
        for room in (loading, merging):
            patch.setattr(room, "read_file", read)
        yield


class Gatherer:
    """Collects the rows of every test and writes the report when the session ends."""

    def __init__(self, folder: Path, asked: str):
        self.folder = folder
        self.report = Report(asked, os.environ.get(SEED_VARIABLE, ""))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if not {"proof", "verify"} & set(report.keywords):
            return
        if report.when == "call":
            rows = [value for name, value in report.user_properties if name == proof.PROPERTY]
            self.report.add(report.nodeid, report.outcome, report.duration, rows)
        if report.skipped:
            self.report.skipped[report.nodeid] = str(report.longrepr[-1])

    def pytest_terminal_summary(self, terminalreporter) -> None:
        written = self.report.write(self.folder)
        terminalreporter.write_line(f"report of the proofs: {written}")
