"""What a compiled program does on one device: operations, HBM traffic, collectives, read from its optimised HLO.

    account = accounting.read(compiled.as_text())
    account.flops, account.hbm_bytes, account.collectives["all-gather"].bytes

XLA's own `cost_analysis` counts the body of a loop once. Here every instruction counts as often as it runs: the trip
count of a loop is found from its condition, its start and its increment, and multiplies through nested loops. The HLO
is that of one device after partitioning, so everything is per device.

Exact: operations of matrix products and convolutions, trip counts of `lax.scan` and `fori_loop`, the bytes of every
collective. Estimates: HBM traffic (what the instructions read and write outside fast memory, without the padding of
tiles), and operations inside opaque kernels, which the caller states (`kernel_flops`). A loop whose trip count is not
found counts once and is listed in `unknown_loops`.
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from vrjax.plan.hlo import Array, Instruction, Program, convolution_flops, dot_flops, group_size, index, parse

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")


class Collective(NamedTuple):
    """All collectives of one kind in one run of the program."""

    count: float | int
    bytes: float | int
    """That a device receives, in total."""


class Account(NamedTuple):
    """What one device does in one run of the program."""

    flops: float | int
    """Of matrix products and convolutions, and of the kernels that `kernel_flops` knows."""
    hbm_bytes: float | int
    collectives: dict[str, Collective]
    unknown_loops: tuple[str, ...]
    unknown_kernels: tuple[str, ...]
    """Opaque kernels whose operations are not in `flops`."""
    saved_bytes: float | int
    """HBM that the loops of a differentiated function fill turn by turn for the backward pass."""

    @property
    def collective_bytes(self) -> float | int:
        return sum(c.bytes for c in self.collectives.values())


KernelFlops = Callable[[Instruction, tuple[tuple[Array, ...], ...]], float | int | None]


def read(text: str, kernel_flops: KernelFlops | None = None) -> Account:
    """The account of an optimised, partitioned HLO module (`compiled.as_text()`).

    Args:
        text: the module.
        kernel_flops: operations of an opaque kernel (a custom call) from its instruction and the types of its
            operands, or None for one that it does not know.

    Raises:
        ValueError: the text has no entry computation.
    """
    program, entry = parse(text)
    if entry is None:
        raise ValueError("accounting: the text has no ENTRY computation; expected compiled.as_text()")
    ledger = _Ledger(program, kernel_flops)
    ledger.walk(entry, 1.0, {})
    loops, kernels = tuple(dict.fromkeys(ledger.unknown_loops)), tuple(dict.fromkeys(ledger.unknown_kernels))
    return Account(
        ledger.flops, ledger.hbm_bytes, dict(sorted(ledger.collectives.items())), loops, kernels, ledger.saved_bytes
    )


_FREE = {"parameter", "constant", "tuple", "get-tuple-element", "bitcast", "after-all", "partition-id", "replica-id"}
_FREE |= {"while", "conditional", "call", "iota", "opt-barrier", "optimization-barrier", "domain"}
_INNER_FREE = {"bitcast", "reshape", "copy", "convert", "transpose"}


class _Ledger:
    def __init__(self, program: Program, kernel_flops: KernelFlops | None):
        self.program, self.kernel_flops = program, kernel_flops
        self.flops = self.hbm_bytes = self.saved_bytes = 0.0
        self.collectives: dict[str, Collective] = {}
        self.unknown_loops: list[str] = []
        self.unknown_kernels: list[str] = []

    def walk(self, name: str, times: float | int, outer: Mapping[int, int | None], fused: bool = False) -> None:
        """Counts a computation that runs `times` times.

        `outer` holds what is known of its parameter's tuple: integers that are the same in every turn.
        """
        body = self.program[name]
        for op in body.values():
            kind = op.opcode.removesuffix("-start")
            if kind in KINDS:
                if not fused or _begins(name, body):
                    self._collective(name, op, kind, times)
            elif op.opcode == "dot":
                self.flops += times * dot_flops(op, self._types(name, op))
            elif op.opcode == "convolution":
                self.flops += times * convolution_flops(op, self._types(name, op))
            elif op.opcode == "custom-call":
                self._kernel(name, op, times)
            if op.opcode == "while":
                self._loop(name, op, times, outer)
                continue
            if not fused and op.opcode not in _FREE and not op.opcode.endswith(("-done", "-update")):
                self.hbm_bytes += times * self._traffic(name, op)
            inside = fused or op.opcode in ("fusion", "async-start")
            if op.opcode in ("fusion", "call", "async-start", "conditional"):
                branches = op.calls("calls", "to_apply", "branch_computations", "true_computation", "false_computation")
                for branch in branches:
                    # A conditional takes one branch: each counts its share.
                    share = times / len(branches) if op.opcode == "conditional" else times
                    self.walk(branch, share, {}, inside and op.opcode != "conditional")

    def _types(self, name: str, op: Instruction) -> tuple[tuple[Array, ...], ...]:
        body = self.program[name]
        return tuple(body[o].result if o in body else () for o in op.operands)

    def _kernel(self, name: str, op: Instruction, times: float | int) -> None:
        target = re.search(r'custom_call_target="([^"]*)"', op.attributes)
        if not target or target[1] not in ("tpu_custom_call", "__cublas$gemm", "__gpu$xla.gpu.triton"):
            return  # allocation, marks of asynchronous collectives, layout changes
        flops = self.kernel_flops(op, self._types(name, op)) if self.kernel_flops else None
        if flops is None:
            self.unknown_kernels.append(op.label)
        self.flops += times * (flops or 0.0)

    def _collective(self, name: str, op: Instruction, kind: str, times: float | int) -> None:
        sent = sum(array.bytes for arrays in self._types(name, op) for array in arrays)
        ways = group_size(op.attributes)
        if kind == "all-reduce" and "reduce-scatter" in name:
            kind = "reduce-scatter"  # XLA:TPU fuses an all-reduce with the slice that is kept of it
        share = (ways - 1) / ways
        received = {
            "all-gather": sent * (ways - 1),
            "all-reduce": 2 * sent * share,
            "collective-permute": sent,
        }.get(kind, sent * share)
        if ways > 1 or kind == "collective-permute":
            old = self.collectives.get(kind, Collective(0, 0))
            self.collectives[kind] = Collective(old.count + times, old.bytes + times * received)

    def _loop(self, name: str, op: Instruction, times: float | int, outer: Mapping[int, int | None]) -> None:
        (condition,), (body,) = op.calls("condition"), op.calls("body")
        start = self._start(name, op, outer)
        trips = self._trips(op, condition, body, start)
        if trips is None:
            self.unknown_loops.append(op.label)
            trips = 1
        if "jvp(" in op.label and "transpose(" not in op.label:  # the forward half, as JAX names it
            rows = (a for i, a in enumerate(op.result) if a.shape[:1] == (trips,) and not self._passes(body, i))
            self.saved_bytes += sum(a.bytes for a in rows if not a.fast)
        stays = {i: value for i, value in start.items() if self._passes(body, i)}
        self.walk(body, times * trips, stays)

    def _start(self, name: str, op: Instruction, outer: Mapping[int, int | None]) -> dict[int, int | None]:
        """Integers in the tuple that a loop starts from."""
        origin = self.program[name].get(op.operands[0])
        if origin is None or origin.opcode != "tuple":
            return {}
        return {i: self._integer(name, operand, outer) for i, operand in enumerate(origin.operands)}

    def _integer(self, name: str, of: str, outer: Mapping[int, int | None]) -> int | None:
        """The value of a constant integer, seen through copies and the computation's parameter."""
        body = self.program[name]
        op = body.get(of)
        while op is not None and op.opcode in ("copy", "bitcast", "convert", "reshape"):
            op = body.get(op.operands[0])
        if op is None:
            return None
        if op.opcode == "constant":
            return int(op.operands[0]) if op.operands and re.fullmatch(r"-?\d+", op.operands[0]) else None
        if op.opcode == "get-tuple-element" and body[op.operands[0]].opcode == "parameter":
            return outer.get(index(op))
        if op.opcode == "parameter":
            return outer.get(-1 - int(op.operands[0]))
        return None

    def _trips(self, op: Instruction, condition: str, body: str, start: Mapping[int, int | None]) -> int | None:
        known = re.search(r'known_trip_count["\s:{=]+n["\s:=]+(\d+)', op.attributes)
        if known:
            return int(known[1])
        where, known_values = condition, dict(start)
        compare = next((i for i in self.program[condition].values() if i.root), None)
        while compare is not None and compare.opcode == "fusion":
            inner = compare.calls("calls")[0]
            counters = {}
            for i, operand in enumerate(compare.operands):
                found = self.program[where][operand]
                counters[-1 - i] = index(found) if found.opcode == "get-tuple-element" else None
                known_values[-1 - i] = self._integer(where, operand, start)
            where, compare = inner, next(i for i in self.program[inner].values() if i.root)
            position = self._counter(where, compare, counters)
            return self._count(where, compare, position, body, start, known_values)
        position = None if compare is None else self._counter(where, compare, {})
        return None if compare is None else self._count(where, compare, position, body, start, known_values)

    def _counter(self, where: str, compare: Instruction, counters: Mapping[int, int | None]) -> int | None:
        """The place in the loop's tuple of what the condition compares."""
        op = self.program[where].get(compare.operands[0])
        while op is not None and op.opcode in ("copy", "bitcast"):
            op = self.program[where].get(op.operands[0])
        if op is None:
            return None
        if op.opcode == "get-tuple-element":
            return index(op)
        return counters.get(-1 - int(op.operands[0])) if op.opcode == "parameter" else None

    def _count(self, where, compare, position, body, start, known) -> int | None:
        if compare.opcode != "compare" or position is None:
            return None
        direction = re.search(r"direction=(\w+)", compare.attributes)
        last, first = self._integer(where, compare.operands[1], known), start.get(position)
        step = self._increment(body, position)
        if direction is None or last is None or first is None or not step:
            return None
        if direction[1] in ("LT", "GT"):
            return max(0, math.ceil((last - first) / step))
        return max(0, (last - first) // step + 1) if direction[1] in ("LE", "GE") else None

    def _increment(self, body: str, position: int) -> int | None:
        """What one turn of a loop adds to an integer of its tuple."""
        ops = self.program[body]
        root = next(op for op in ops.values() if op.root)
        op = ops.get(root.operands[position]) if root.opcode == "tuple" else None
        where, seen = body, {}
        while op is not None and op.opcode in ("copy", "bitcast", "fusion"):
            if op.opcode == "fusion":
                inner = op.calls("calls")[0]
                seen = {-1 - i: self._integer(where, operand, {}) for i, operand in enumerate(op.operands)}
                where, op = inner, next(i for i in self.program[inner].values() if i.root)
            else:
                op = self.program[where].get(op.operands[0])
        if op is None or op.opcode not in ("add", "subtract"):
            return None
        values = [v for v in (self._integer(where, operand, seen) for operand in op.operands) if v is not None]
        return None if not values else values[-1] if op.opcode == "add" else -values[-1]

    def _passes(self, body: str, position: int) -> bool:
        """Whether a loop hands on an element of its tuple unchanged."""
        ops = self.program[body]
        root = next(op for op in ops.values() if op.root)
        if root.opcode != "tuple" or position >= len(root.operands):
            return False
        op = ops.get(root.operands[position])
        return op is not None and op.opcode == "get-tuple-element" and index(op) == position

    def _traffic(self, name: str, op: Instruction) -> float | int:
        """Bytes that an instruction reads from and writes to HBM."""
        slow = lambda arrays: sum(array.bytes for array in arrays if not array.fast)
        types = self._types(name, op)
        if op.opcode in ("copy-start", "slice-start"):
            moved = op.result[0] if op.opcode == "copy-start" else op.result[1]
            source = types[0][0] if types and types[0] else moved
            return moved.bytes * ((not moved.fast) + (not source.fast))
        if op.opcode in ("dynamic-slice", "slice", "gather"):
            return slow(op.result) * 2
        if op.opcode == "dynamic-update-slice":
            return 2 * slow(types[1]) if not op.result[0].fast else 0
        if op.opcode != "fusion":
            return slow(op.result) + sum(slow(arrays) for arrays in types)
        return self._fusion_traffic(op, types)

    def _fusion_traffic(self, op: Instruction, types: tuple) -> float | int:
        """A fusion reads the slices that it takes of an operand, and writes what it changes of an updated one."""
        inner = self.program[op.calls("calls")[0]]
        total = 0.0
        for position, arrays in enumerate(types):
            parameter = next(
                (i for i in inner.values() if i.opcode == "parameter" and i.operands[:1] == (str(position),)), None
            )
            full = sum(array.bytes for array in arrays if not array.fast)
            if parameter is None or not full:
                continue
            users = list(_users(inner, parameter.name))
            if all(user.opcode in ("dynamic-slice", "slice") for user in users) and users:
                total += min(full, sum(user.result[0].bytes for user in users))
            elif all(user.root and user.opcode in ("tuple", "dynamic-update-slice") for user in users):
                continue  # handed on, or updated in place
            else:
                total += full
        root = next(i for i in inner.values() if i.root)
        leaves = root.operands if root.opcode == "tuple" else (root.name,)
        for leaf, array in zip(leaves, op.result, strict=False):
            made = _made_by(inner, leaf)
            if array.fast or made.opcode == "parameter":
                continue
            if made.opcode == "dynamic-update-slice" and made.operands[1] in inner:
                total += sum(a.bytes for a in inner[made.operands[1]].result)
            else:
                total += array.bytes
        return total


def _begins(name: str, body: Mapping[str, Instruction]) -> bool:
    """Whether a fused collective is a whole one, or the first part of one.

    XLA:TPU splits an asynchronous collective over several fusions: one that starts it, some that work meanwhile, one
    that ends it. Each repeats the instruction.
    """
    ends = any('"AsyncCollectiveDone"' in op.attributes for op in body.values())
    return not ends and not name.startswith("async_collective_fusion")


def _users(body: Mapping[str, Instruction], name: str) -> Iterable[Instruction]:
    """Who reads an instruction, seen through those that only change its form."""
    for op in body.values():
        if name in op.operands:
            if op.opcode in _INNER_FREE and not op.root:
                yield from _users(body, op.name)
            else:
                yield op


def _made_by(body: Mapping[str, Instruction], name: str) -> Instruction:
    op = body[name]
    while op.opcode == "bitcast" and op.operands[0] in body:
        op = body[op.operands[0]]
    return op
