"""Tuples of arrays handed from kernel to kernel by address.

The compiler passes a tuple by value, element by element: with all tables a call costs several hundred words
to write and to read, some 40 ns, more than most events. A *pinned* tuple stands once in the memory of the
kernel that pinned it, and calls carry one word. Its elements are read as those of any tuple and cannot
be assigned to.
"""

from __future__ import annotations

import hashlib

from numba import types
from numba.core import cgutils
from numba.core.datamodel import models
from numba.core.extending import register_model
from numba.core.imputils import impl_ret_borrowed, lower_getattr_generic
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic

ir = cgutils.ir


class Pinned(types.Type):
    """Address of a named tuple. The type's name is short, for it becomes part of every symbol."""

    def __init__(self, content: types.BaseNamedTuple) -> None:
        self.content = content
        digest = hashlib.sha256(str(content).encode()).hexdigest()[:12]
        super().__init__(name=f"Pinned{content.instance_class.__name__}{digest}")


@register_model(Pinned)
class PinnedModel(models.PrimitiveModel):
    def __init__(self, manager, kind: Pinned) -> None:
        content = manager.lookup(kind.content).get_value_type()
        super().__init__(manager, kind, content.as_pointer())


def is_aggregate(kind: ir.Type) -> bool:
    return isinstance(kind, ir.LiteralStructType | ir.ArrayType)


def write(builder: ir.IRBuilder, value: ir.Value, address: ir.Value) -> None:
    """Store an aggregate word by word, which later passes see through."""
    if not is_aggregate(value.type):
        builder.store(value, address)
        return
    for i in range(len(value.type)):
        part = builder.extract_value(value, i)
        write(builder, part, cgutils.gep_inbounds(builder, address, 0, i))


def read(builder: ir.IRBuilder, address: ir.Value) -> ir.Value:
    """Load an aggregate word by word; what is not used costs nothing."""
    kind = address.type.pointee
    if not is_aggregate(kind):
        return builder.load(address)
    value = ir.Constant(kind, ir.Undefined)
    for i in range(len(kind)):
        part = read(builder, cgutils.gep_inbounds(builder, address, 0, i))
        value = builder.insert_value(value, part, i)
    return value


@infer_getattr
class PinnedAttributes(AttributeTemplate):
    key = Pinned

    def generic_resolve(self, kind: Pinned, name: str) -> types.Type | None:
        fields = kind.content.fields
        return kind.content.types[fields.index(name)] if name in fields else None


@lower_getattr_generic(Pinned)
def read_element(context, builder, kind, address, name):
    i = kind.content.fields.index(name)
    value = read(builder, cgutils.gep_inbounds(builder, address, 0, i))
    return impl_ret_borrowed(context, builder, kind.content.types[i], value)


@intrinsic
def pin(typing_context, content):
    """The tuple kept in the caller's memory, for as long as the caller runs."""

    def code(context, builder, signature, arguments):
        address = cgutils.alloca_once(builder, arguments[0].type)
        write(builder, arguments[0], address)
        return address

    return Pinned(content)(content), code
