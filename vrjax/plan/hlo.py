"""Optimised HLO text as data: computations, instructions, and what single instructions cost.

XLA prints one instruction a line, `%name = type opcode(%operand, ...), attribute=value, ...`; types carry layouts, in
which `S(n)` is a memory space other than the device's main memory.
"""

import math
import re
from typing import NamedTuple

import numpy as np

BITS = {"pred": 8, "s4": 4, "u4": 4, "bf16": 16, "token": 0, "opaque": 0}


class Array(NamedTuple):
    """A leaf of an instruction's type."""

    dtype: str
    shape: tuple[int, ...]
    fast: bool
    """Whether it lives in on-chip memory (TPU: VMEM, SMEM) instead of HBM."""

    @property
    def bytes(self) -> int:
        bits = BITS.get(self.dtype) or int((re.findall(r"\d+", self.dtype) or ["0"])[0])
        return math.prod(self.shape) * bits // 8


class Instruction(NamedTuple):
    """One line of HLO."""

    name: str
    opcode: str
    result: tuple[Array, ...]
    operands: tuple[str, ...]
    attributes: str
    root: bool

    @property
    def label(self) -> str:
        """What the program calls it: JAX's name stack."""
        found = re.search(r'op_name="([^"]*)"', self.attributes)
        return found[1] if found else self.name

    def calls(self, *names: str) -> list[str]:
        """The computations that it refers to under an attribute."""
        found = []
        for name in names:
            for single, several in re.findall(rf"\b{name}=(?:%?([\w.\-]+)|\{{([^}}]*)\}})", self.attributes):
                found += [single] if single else [part.strip().lstrip("%") for part in several.split(",")]
        return found


Program = dict[str, dict[str, Instruction]]

_HEADER = re.compile(r"^(ENTRY )?%?([\w.\-]+) \(.*\{$")
_START = re.compile(r"^\s+(?:ROOT )?%?[\w.\-]+ = ")
_LINE = re.compile(r"^\s+(ROOT )?%?([\w.\-]+) = (.*)$")
_LEAF = re.compile(r"([a-z]\w*)\[([\d,<= ]*)\](?:\{([^}]*)\})?")


def parse(text: str) -> tuple[Program, str | None]:
    """Computations by name, each an ordered dict of its instructions, and the name of the entry computation."""
    program: Program = {}
    entry, body, lines = None, None, []

    def flush():
        if lines and body is not None and (found := _LINE.match(" ".join(lines))):
            instruction = _instruction(found[2], found[3], bool(found[1]))
            body[instruction.name] = instruction
        lines.clear()

    for line in text.splitlines():
        if body is None:
            if line.endswith("{") and (header := _HEADER.match(line)):
                body = program.setdefault(header[2], {})
                entry = header[2] if header[1] else entry
        elif line == "}":
            flush()
            body = None
        else:
            if _START.match(line):  # attributes may go on over several lines
                flush()
            lines.append(line)
    return program, entry


def _instruction(name: str, rest: str, root: bool) -> Instruction:
    end = _close(rest, 0) + 1 if rest.startswith("(") else rest.index(" ")
    kind, rest = rest[:end], rest[end:].lstrip()
    opening = rest.index("(")
    closing = _close(rest, opening)
    operands = re.findall(r"%([\w.\-]+)", rest[opening:closing]) or re.findall(r"([\w.\-]+)", rest[opening:closing])
    leaves = tuple(
        Array(dtype, tuple(int(n.strip("<= ")) for n in sizes.split(",") if n), "S(" in (layout or ""))
        for dtype, sizes, layout in _LEAF.findall(kind)
    )
    return Instruction(name, rest[:opening], leaves, tuple(operands), rest[closing + 1 :], root)


def _close(text: str, start: int) -> int:
    """Index of the parenthesis that closes the one at `start`."""
    depth = 0
    for found in re.compile(r"[()]").finditer(text, start):
        depth += 1 if found[0] == "(" else -1
        if not depth:
            return found.start()
    raise ValueError(f"accounting: unbalanced parentheses in {text[:80]!r}")


def index(op: Instruction) -> int:
    """Which element a get-tuple-element or parameter names (its `index=` attribute); -1 where there is none."""
    found = re.search(r"index=(\d+)", op.attributes)
    return int(found[1]) if found else -1


def group_size(attributes: str) -> int:
    """Devices that take part in one instance of a collective."""
    found = re.search(r"replica_groups=\[(\d+),(\d+)\]<=", attributes)
    if found:
        return int(found[2])
    found = re.search(r"replica_groups=mesh\[([^\]]*)\]\s*\{([^}]*)\}", attributes)
    if found:
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", found[1]))
        return math.prod(int(sizes[axis]) for axis in re.findall(r"'([^']+)'", found[2]))
    found = re.search(r"replica_groups=\{\{([\d,]*)\}", attributes)
    return len(found[1].split(",")) if found else 1


def dot_flops(op: Instruction, types: tuple) -> float:
    """2 x outputs x contracted elements of a dot; `types` are its operands' arrays, the left one first."""
    found = re.search(r"lhs_contracting_dims=\{([\d,]*)\}", op.attributes)
    dims = [int(d) for d in found[1].split(",") if d] if found else []
    return 2.0 * math.prod(op.result[0].shape) * math.prod(types[0][0].shape[d] for d in dims)


def convolution_flops(op: Instruction, types: tuple) -> float:
    """2 x outputs x inputs that meet them. XLA:TPU writes every matrix product as a convolution; batch dimensions are
    then dilated windows, of which only the positions that hit data count.
    """
    labels = re.search(r"dim_labels=(\w+)_(\w+)->(\w+)", op.attributes)
    if labels is None or len(types) < 2:
        return 0.0
    left, right, out = labels[1], labels[2], labels[3]
    (data,), (kernel,), result = types[0][:1], types[1][:1], op.result[0]
    window = dict(re.findall(r"(\w+)=([\dx_\-]+)", (re.search(r"window=\{([^}]*)\}", op.attributes) or [" ", ""])[1]))
    spatial = sorted(label for label in out if label.isdecimal())

    def option(key: str, axis: int, default: str) -> str:
        return window[key].split("x")[axis] if key in window else default

    pairs = 1
    for axis, label in enumerate(spatial):
        low = int(option("pad", axis, "0_0").split("_")[0])
        pairs *= _meetings(
            result.shape[out.index(label)],
            kernel.shape[right.index(label)],
            data.shape[left.index(label)],
            int(option("stride", axis, "1")),
            low,
            int(option("lhs_dilate", axis, "1")),
            int(option("rhs_dilate", axis, "1")),
        )
    outputs = result.shape[out.index("b")] * result.shape[out.index("f")]
    return 2.0 * outputs * kernel.shape[right.index("i")] * pairs


def _meetings(outputs: int, taps: int, inputs: int, stride: int, low: int, spread: int, dilation: int) -> int:
    """How many (output, tap) pairs of a window along one axis meet an input."""
    total = 0
    out = np.arange(outputs, dtype=np.int64) * stride - low
    for tap in range(taps):
        at = out + tap * dilation
        total += int(np.count_nonzero((at >= 0) & (at <= (inputs - 1) * spread) & (at % spread == 0)))
    return total
