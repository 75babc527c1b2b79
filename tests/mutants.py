"""Whether the tests notice a broken engine: every fault of `mutant_table`, one at a time.

    python tests/mutants.py                 the twin and the tests of state, run by the interpreter
    python tests/mutants.py --laws          the laws alone, compiled: a minute of compiling per fault
    python tests/mutants.py --only NAME     one fault; --jobs N how many at once

The package is copied, one line is replaced, and tests run until one fails by an assertion; a crash or a
test that hangs does not count. A whole run writes out/verify/mutants.md (or mutants_laws.md).
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from mutant_table import FAULTS, FIELDS, LOSSES, ROOM, SITES, Fault

ROOT = Path(__file__).parents[1]
ENGINE = "mst_abm/engine"
#: Run when the named tests miss a fault; one group after another.
REST_OF_BITS = (("test_twin.py",), (*SITES, *FIELDS, *LOSSES, *ROOM))
REST_OF_LAWS = (
    ("test_exact.py",),
    ("test_independent.py", "test_lattice.py", "test_population.py"),
)
PATIENCE = 400.0  # s for one group
FAILED = re.compile(r"^FAILED tests/(.+?) - (.*)$", re.MULTILINE)


class Missing(Exception):
    """A fault has lost its place in the sources."""


class Verdict(NamedTuple):
    fault: Fault
    caught_by: str  # empty: by nobody
    seconds: float
    remark: str


def mutated(fault: Fault, root: Path = ROOT) -> str:
    """The source with the fault in it."""
    path = root / ENGINE / fault.file
    text = path.read_text() if path.exists() else ""
    if text.count(fault.anchor) != 1:
        others = [
            f"{p.name} ({p.read_text().count(fault.anchor)})"
            for p in sorted((root / ENGINE).glob("*.py"))
            if fault.anchor in p.read_text()
        ]
        raise Missing(
            f"fault '{fault.name}': expected '{fault.anchor}' once in {ENGINE}/{fault.file}, found it "
            f"{text.count(fault.anchor)} times there, and in: {', '.join(others) or 'no other file'}; "
            "anchor it anew in tests/mutant_table.py."
        )
    return text.replace(fault.anchor, fault.replacement)


def copied(fault: Fault, scratch: Path) -> None:
    """Package, tests and scenarios, with the fault."""
    ignored = shutil.ignore_patterns("__pycache__", ".*")
    for name in ("mst_abm", "tests", "configs"):
        shutil.copytree(ROOT / name, scratch / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", scratch)
    (scratch / ENGINE / fault.file).write_text(mutated(fault))


def failures(tests: tuple[str, ...], scratch: Path, *, is_compiled: bool) -> list[tuple[str, str]]:
    """(test, what it said) of the first tests that fail."""
    paths = os.pathsep.join([str(scratch), str(scratch / "tests")])
    variables = os.environ | {
        "PYTHONPATH": paths,
        "COLUMNS": "2000",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    more = ["-p", "no:cacheprovider"]
    if is_compiled:
        # compiled for speed of compiling
        variables |= {"MST_ABM_CACHE": str(scratch / "cache"), "NUMBA_OPT": "1"}
    else:
        variables |= {"NUMBA_DISABLE_JIT": "1"}
        more += ["-p", "interpreted"]
    command = [sys.executable, "-m", "pytest", "-q", "-rf", "--tb=no", "--maxfail=3", *more]
    command += [f"tests/{test}" for test in tests]
    try:
        told = subprocess.run(
            command, cwd=scratch, env=variables, capture_output=True, text=True, timeout=PATIENCE
        )
    except subprocess.TimeoutExpired:
        return [(tests[0], "hangs")]
    if told.returncode not in (0, 1):
        return [(tests[0], f"pytest ended with {told.returncode}: {told.stdout[-300:]}")]
    found = FAILED.findall(told.stdout)
    assert bool(found) == (told.returncode == 1), told.stdout[-1000:]
    return found


def judged(fault: Fault, *, is_compiled: bool) -> Verdict:
    begun, crashes = time.perf_counter(), []
    named = fault.laws if is_compiled else fault.bits
    with tempfile.TemporaryDirectory(prefix="mutant-") as folder:
        scratch = Path(folder)
        copied(fault, scratch)
        for tests in (named, *(REST_OF_LAWS if is_compiled else REST_OF_BITS)):
            for test, words in failures(tests, scratch, is_compiled=is_compiled):
                if words.startswith(("assert", "AssertionError")):
                    remark = (
                        f"not by {', '.join(named)}" if test not in named and tests != named else ""
                    )
                    return Verdict(fault, test, time.perf_counter() - begun, remark)
                crashes.append(f"{test}: {words[:80]}")
    return Verdict(fault, "", time.perf_counter() - begun, "; ".join(crashes))


def table(verdicts: list[Verdict], title: str) -> str:
    caught = sum(bool(v.caught_by) for v in verdicts)
    lines = [
        f"# {title}",
        "",
        f"{caught} of {len(verdicts)} faults caught, {sum(v.seconds for v in verdicts):.0f} s of work.",
        "",
        "| fault | file | what it breaks | caught by | s | remark |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for v in verdicts:
        by = f"`{v.caught_by}`" if v.caught_by else "**nobody**"
        remark = v.remark.replace("|", "/")
        lines.append(
            f"| {v.fault.name} | {v.fault.file} | {v.fault.breaks} | {by} | {v.seconds:.0f} | {remark} |"
        )
    return "\n".join(lines) + "\n"


def main() -> int:
    asked = argparse.ArgumentParser(description="Do the tests notice a broken engine?")
    asked.add_argument("--laws", action="store_true", help="compiled, without the twin")
    asked.add_argument("--only", action="append", metavar="NAME")
    asked.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    options = asked.parse_args()
    chosen = [f for f in FAULTS if not options.only or f.name in options.only]
    try:
        for fault in chosen:
            mutated(fault)
    except Missing as why:
        print(why, file=sys.stderr)
        return 2
    verdicts = []
    with ThreadPoolExecutor(options.jobs) as pool:
        for verdict in pool.map(lambda f: judged(f, is_compiled=options.laws), chosen):
            verdicts.append(verdict)
            by = verdict.caught_by or "NOBODY"
            print(
                f"{verdict.fault.name}: {by}, {verdict.seconds:.0f} s {verdict.remark}", flush=True
            )
    if options.only:
        return 0 if all(v.caught_by for v in verdicts) else 1
    name = "mutants_laws.md" if options.laws else "mutants.md"
    path = ROOT / "out" / "verify" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    title = (
        "Faults of the engine, noticed by laws alone" if options.laws else "Faults of the engine"
    )
    path.write_text(table(verdicts, title))
    return 0 if all(v.caught_by for v in verdicts) else 1


if __name__ == "__main__":
    sys.exit(main())
