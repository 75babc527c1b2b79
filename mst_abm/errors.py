"""The exceptions of the package and the words they are said in.

Every error a person can cause ends in one of these; the command line prints ``str(error)`` and
nothing else. Nothing here reads files or computes, and no other room is imported.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


class MstAbmError(Exception):
    """Anything this package refuses to do, said in one sentence."""


@dataclass(frozen=True)
class Problem:
    """One mistake in one file; line and column count from 1, and 0 means 'not in a file'."""

    file: str
    line: int
    column: int
    message: str

    def __str__(self) -> str:
        where = f"{self.file}:{self.line}:{self.column}" if self.line else self.file
        return f"{where}: {self.message}"


class ScenarioError(MstAbmError, ValueError):
    """All the mistakes found in a scenario and its model, one per line."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))

    def __reduce__(self) -> tuple[type[ScenarioError], tuple[list[Problem]]]:
        # from a worker process it comes back with its problems, not with its sentence
        return type(self), (self.problems,)


class ModelError(MstAbmError, ValueError):
    """A model whose parts are readable one by one but contradict each other."""


class UnitError(MstAbmError, ValueError):
    """A quantity without the unit it needs."""


class MemoryNeedError(ModelError):
    """A model for which there is too little memory on this computer just now."""


class EngineError(MstAbmError, RuntimeError):
    """The engine stopped: a status of a kernel, as a sentence."""


class ClusterError(MstAbmError, RuntimeError):
    """Workers elsewhere that cannot be had, are lost, or are not what they should be."""


class SlurmError(MstAbmError, RuntimeError):
    """A job that SLURM would not understand, or refuses."""


class RecordError(MstAbmError, RuntimeError):
    """A record file that cannot be written or read."""


class DiscFullError(RecordError):
    """A record file that found no more room; what was committed before can be read."""


class MissingPackageError(MstAbmError, ImportError):
    """A library of an extra that is not installed."""

    def __init__(self, what: str, package: str, extra: str) -> None:
        self._parts = what, package, extra
        super().__init__(
            f"{what} needs the package {package}; install it with: pip install 'mst-abm[{extra}]'."
        )

    def __reduce__(self) -> tuple[type[MissingPackageError], tuple[str, str, str]]:
        return type(self), self._parts


def closest(word: str, known: Iterable[str]) -> str:
    """The known word that is most like a misspelt one; "" if none is."""
    return next(iter(difflib.get_close_matches(str(word), known, n=1, cutoff=0.6)), "")


def did_you_mean(word: str, known: Iterable[str], *, shown: int = 12) -> str:
    """The tail of a sentence about an unknown word: a suggestion, or what there is."""
    known = list(known)
    if close := closest(word, known):
        return f"; did you mean '{close}'?"
    if not known:
        return "; there are none"
    more = ", ..." if len(known) > shown else ""
    return f"; there are {', '.join(known[:shown])}{more}"
