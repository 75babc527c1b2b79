"""How kernels are compiled: one decorator, and a disk cache that notices every edit.

numba keys its cache on the file of the outermost function only, so an edit in a kernel that
another kernel calls would go unnoticed. The cache therefore lives in a directory named after a
hash of *all* kernel sources and the versions of numba and numpy. It is placed next to the package
where that is writable, else in the user's cache, else in a private temporary directory.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from pathlib import Path

import numba
import numpy
from numba import types
from numba.extending import intrinsic

ENGINE = Path(__file__).parent


def source_digest() -> str:
    """Hash of every engine source and of the compiler's versions (16 hex digits)."""
    digest = hashlib.sha256(f"{numba.__version__} {numpy.__version__}".encode())
    for path in sorted(ENGINE.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_directory() -> Path:
    """First writable place for compiled kernels; ``MST_ABM_CACHE`` comes before all others."""
    name = f"kernels-{source_digest()}"
    places = [ENGINE / "__pycache__", Path.home() / ".cache" / "mst_abm"]
    if os.environ.get("MST_ABM_CACHE"):
        places.insert(0, Path(os.environ["MST_ABM_CACHE"]))
    for place in places:
        directory = place / name
        try:
            directory.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=directory):
                return directory
        except OSError:
            continue
    return Path(tempfile.mkdtemp(prefix="mst_abm-"))


# Read by numba when a function is decorated, hence here, before any kernel module goes on.
numba.config.CACHE_DIR = str(cache_directory())

# _nrt: no reference counts. Kernels allocate nothing, so there is nothing to count; code shrinks by half.
OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
UNWRAPPED = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

#: Called from Python. Compiled without the interpreter lock, IEEE arithmetic kept as written (no
#: fastmath: results must not depend on what the compiler reorders).
entry = numba.njit(**OPTIONS)

#: Called from kernels only: no wrapper that takes apart and checks dozens of arrays, which would
#: cost more to compile than most kernels themselves.
kernel = numba.njit(**OPTIONS, **UNWRAPPED)

#: The same, and always merged into its caller: for the small functions of hot loops, where the
#: compiler's own limit on inlining would otherwise keep a loop from being made of vectors.
inlined = numba.njit(**OPTIONS, **UNWRAPPED, forceinline=True)

#: Merged at the level of Python's own intermediate code: for a function with one caller, which then
#: need not be compiled twice.
merged = numba.njit(**OPTIONS, **UNWRAPPED, inline="always")


@intrinsic
def keep_apart(typing_context):
    """Mark the kernel this is called in as one that the compiler must not merge into callers.

    For what happens seldom or is called from many places: without it every caller carries a
    copy, and compiling takes minutes instead of seconds.
    """

    def code(context, builder, signature, arguments):
        builder.function.attributes.add("noinline")
        return context.get_dummy_value()

    return types.void(), code
