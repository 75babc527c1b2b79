"""Where threads wait for each other between colours.

A gate is an array of counters, one for each halt, and a flag after them: a thread that must go back to Python
(a table is full) sets it, and nobody waits for it any longer.
"""

from __future__ import annotations

import sys

from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from mst_abm.engine.kernel import keep_apart, kernel

ir = cgutils.ir
SPINS = 4096  # looks at a counter before the processor is offered to others
#: Symbol of the operating system by which a thread gives way.
GIVE_WAY = "SwitchToThread" if sys.platform == "win32" else "sched_yield"


@intrinsic
def add_one(typing_context, counters, i):
    """Count up ``counters[i]`` at once for all threads; returns what it was."""

    def code(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.gep(data, [arguments[1]])
        return builder.atomic_rmw("add", place, ir.Constant(ir.IntType(64), 1), "seq_cst")

    return types.int64(counters, types.int64), code


@intrinsic
def look(typing_context, counters, i):
    """``counters[i]`` as the last thread left it."""

    def code(context, builder, signature, arguments):
        data = context.make_array(signature.args[0])(context, builder, arguments[0]).data
        place = builder.gep(data, [arguments[1]])
        return builder.load_atomic(place, "seq_cst", 8)

    return types.int64(counters, types.int64), code


@intrinsic
def give_way(typing_context):
    """Let another thread have the processor."""

    def code(context, builder, signature, arguments):
        shape = ir.FunctionType(ir.IntType(32), [])
        builder.call(cgutils.get_or_insert_function(builder.module, shape, GIVE_WAY), [])
        return context.get_dummy_value()

    return types.void(), code


@kernel
def call_off(gate):
    """Keep nobody waiting: the caller will not arrive."""
    add_one(gate, gate.shape[0] - 1)


@kernel
def wait_at(gate, halt, n_threads):
    """Wait until all threads have arrived at a halt; False if one of them will not."""
    keep_apart()
    add_one(gate, halt)
    looks = 0
    while True:
        # in this order: who passed this halt may have called off the next
        is_off = look(gate, gate.shape[0] - 1) > 0
        if look(gate, halt) >= n_threads:
            return True
        if is_off:
            return False
        looks += 1
        if looks > SPINS:
            give_way()
