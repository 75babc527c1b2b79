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
from importlib.metadata import version
from pathlib import Path

import numba
import numpy
from numba import types
from numba.core import cgutils, config
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.typed_passes import NativeLowering
from numba.extending import intrinsic

ir = cgutils.ir

ENGINE = Path(__file__).parent


def source_digest() -> str:
    """Hash of every engine source and of the compiler's versions (16 hex digits)."""
    compiler = f"{numba.__version__} {version('llvmlite')} {numpy.__version__} {config.OPT}"
    digest = hashlib.sha256(compiler.encode())
    for path in sorted(ENGINE.glob("*.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_directory() -> Path:
    """First writable place for compiled kernels; ``MST_ABM_CACHE`` comes before all others."""
    name = f"kernels-{source_digest()}"
    places = [ENGINE / "__pycache__", Path("~/.cache/mst_abm").expanduser()]
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

DRIVER_LEVEL = 1


@register_pass(mutates_CFG=True, analysis_only=False)
class QuickLowering(NativeLowering):
    """Translate a driver with few optimisations.

    Everything a driver calls is linked into it and has been optimised already, when it was
    compiled by itself; doing so again takes a quarter of the whole compile time and gains nothing.
    """

    _name = "quick_lowering"

    def run_pass(self, state):
        usual = config.OPT
        config.OPT = type(usual)(DRIVER_LEVEL)
        try:
            return super().run_pass(state)
        finally:
            config.OPT = usual


class DriverCompiler(CompilerBase):
    """The usual pipeline with `QuickLowering` at its end."""

    def define_pipelines(self):
        usual = DefaultPassBuilder.define_nopython_pipeline(self.state)
        usual.passes = [
            (QuickLowering if step is NativeLowering else step, why) for step, why in usual.passes
        ]
        usual.finalize()
        return [usual]


#: Called from Python. Compiled without the interpreter lock, IEEE arithmetic kept as written (no
#: fastmath: results must not depend on what the compiler reorders).
entry = numba.njit(**OPTIONS)

#: The same, for loops over bodies and patches that leave the work to other kernels.
driver = numba.njit(**OPTIONS, pipeline_class=DriverCompiler)

#: Called from kernels only: no wrapper that takes apart and checks dozens of arrays, which would
#: cost more to compile than most kernels themselves. Unless told otherwise a kernel first called from
#: an `inlined` one would inherit its fate.
kernel = numba.njit(**OPTIONS, **UNWRAPPED, forceinline=False)

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


@intrinsic
def prefetch(typing_context, array, index):
    """Ask for the cache line of ``array[index]``; reads nothing, so any index will do."""

    def code(context, builder, signature, arguments):
        pointer, word = ir.IntType(8).as_pointer(), ir.IntType(32)
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        line = builder.bitcast(builder.gep(data, [arguments[1]]), pointer)
        shape = ir.FunctionType(ir.VoidType(), [pointer, word, word, word])
        hint = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0")
        builder.call(hint, [line, word(0), word(3), word(1)])
        return context.get_dummy_value()

    return types.void(array, types.int64), code


@intrinsic
def natural(typing_context, number):
    """The same integer, with a promise to the compiler that it is not negative.

    An index that may be negative costs two instructions and a register more at every use, for it
    would count from the end.
    """

    def code(context, builder, signature, arguments):
        value = arguments[0]
        shape = ir.FunctionType(ir.VoidType(), [ir.IntType(1)])
        promise = cgutils.get_or_insert_function(builder.module, shape, "llvm.assume")
        builder.call(promise, [builder.icmp_signed(">=", value, value.type(0))])
        return value

    return number(number), code
