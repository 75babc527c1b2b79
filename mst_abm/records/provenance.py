"""Where a file comes from: versions, commit, computer. Nothing here enters a result."""

from __future__ import annotations

import platform
import socket
import subprocess
import sys
from datetime import UTC, datetime
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import h5py

from mst_abm.version import __version__

_PACKAGE = Path(__file__).resolve().parents[1]


def provenance() -> dict[str, str]:
    """Attributes that say how and where a file was made."""
    return {
        "command": " ".join([Path(sys.argv[0]).name, *sys.argv[1:]]),
        "mst_abm": __version__,
        "numpy": _version("numpy"),
        "numba": _version("numba"),
        "scipy": _version("scipy"),
        "h5py": f"{h5py.__version__} (HDF5 {h5py.version.hdf5_version})",
        "python": platform.python_version(),
        "git_commit": git_commit(),
        "host": socket.gethostname(),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


@cache
def git_commit() -> str:
    """Commit of the source tree, with "-dirty" if files were changed; empty outside of one.

    Asked once in a process, which runs the code it has loaded and may write a record every moment. An installed
    package inside somebody else's repository must not report their commit.
    """
    if not (_PACKAGE.parent / ".git").exists():
        return ""
    command = ["git", "-C", str(_PACKAGE.parent), "describe", "--always", "--dirty", "--abbrev=40"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
