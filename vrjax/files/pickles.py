"""Reads the pickles inside PyTorch's files without running them.

Pickle is a small stack language; its danger lies in the opcodes that look up and call Python objects. This interpreter
has neither: a global is an inert `Name`, and the few calls that a file of tensors needs are made by the reader's own
functions, chosen by name from a fixed table. Any other global or opcode ends the reading with an error that names it.
"""

import io
import pickletools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

_MAX_ARGUMENTS = 16  # of a call
LIMIT = 2**26  # bytes of one pickle; 10,000 tensors take about 2 MiB


class Name(NamedTuple):
    """A global of a pickle, never looked up."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


class _Mark:
    """Where a pickle's MARK opcode left the stack."""


_MARK = _Mark()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MAKERS: dict[str, Callable[[], Any]] = {"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_TUPLE": tuple}
_VALUES = frozenset(
    """BININT BININT1 BININT2 LONG1 INT LONG BINFLOAT BINUNICODE SHORT_BINUNICODE BINUNICODE8 UNICODE BINBYTES
    SHORT_BINBYTES BINBYTES8 BINSTRING SHORT_BINSTRING""".split()
)


def load(file: io.BytesIO, calls: Mapping[str, Callable], persistent: Callable[[Any], Any]) -> Any:
    """One pickle, from the file's position to its STOP.

    Args:
        file: the bytes, in memory.
        calls: what may be called: dotted global -> function of the pickle's arguments. Keys are also the globals
            that may be mentioned at all.
        persistent: makes the object of a persistent id.

    Returns:
        dicts, lists, tuples, numbers, strings and what `calls` and `persistent` made.

    Raises:
        ValueError: a damaged pickle, or a global or opcode that a file of tensors has no use for; says which.
    """
    try:
        return _Machine(calls, persistent).run(file)
    except ValueError:
        raise
    except (IndexError, KeyError, TypeError, AttributeError, OverflowError, EOFError, RecursionError) as error:
        raise ValueError(f"damaged pickle ({type(error).__name__})") from None


def _opcodes(file: io.BytesIO) -> Iterator[tuple[pickletools.OpcodeInfo, Any]]:
    """The opcodes and their arguments, read by the standard library's disassembler."""
    try:
        for opcode, argument, _ in pickletools.genops(file):
            yield opcode, argument
    except ValueError as error:
        raise ValueError(f"damaged pickle ({error!s:.200})") from None


class _Machine:
    """The stack, the memo, and what the opcodes do to them."""

    def __init__(self, calls: Mapping[str, Callable], persistent: Callable):
        self.calls, self.persistent = calls, persistent
        self.stack: list = []
        self.memo: dict[int, Any] = {}

    def run(self, file: io.BytesIO) -> Any:
        for opcode, argument in _opcodes(file):
            if opcode.name == "STOP":
                return self.pop()
            self.do(opcode.name, argument)
        raise ValueError("damaged pickle (no end)")

    def do(self, name: str, argument: Any) -> None:
        stack, memo = self.stack, self.memo
        if name in _VALUES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in _MAKERS:
            stack.append(_MAKERS[name]())
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "TUPLE":
            stack.append(tuple(self.since_mark()))
        elif name in ("TUPLE1", "TUPLE2", "TUPLE3"):
            stack.append(tuple([self.pop() for _ in range(int(name[-1]))][::-1]))
        elif name == "LIST":
            stack.append(self.since_mark())
        elif name == "DICT":
            items = self.since_mark()
            stack.append({})
            self.fill(items)
        elif name in ("APPEND", "APPENDS"):
            items = [self.pop()] if name == "APPEND" else self.since_mark()
            if not isinstance(stack[-1], list):
                raise ValueError("damaged pickle (items for something that is not a list)")
            stack[-1].extend(items)
        elif name == "SETITEM":
            value, key = self.pop(), self.pop()
            self.fill([key, value])
        elif name == "SETITEMS":
            self.fill(self.since_mark())
        elif name in ("BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("BINGET", "LONG_BINGET", "GET"):
            stack.append(memo[argument])
        elif name == "POP":
            stack.pop()
        elif name == "GLOBAL":
            stack.append(self.allowed(*argument.split(" ", 1)))
        elif name == "STACK_GLOBAL":
            attribute, module = self.pop(), self.pop()
            stack.append(self.allowed(module, attribute))
        elif name == "BINPERSID":
            stack.append(self.persistent(self.pop()))
        elif name == "REDUCE":
            arguments, function = self.pop(), self.pop()
            stack.append(self.call(function, arguments))
        elif name == "BUILD":
            self.pop()  # attributes of a dictionary of tensors (torch's `_metadata`) say nothing about the tensors
            if not isinstance(stack[-1], dict):
                raise ValueError("damaged pickle (attributes for something that is not a dictionary)")
        elif name not in ("PROTO", "FRAME"):
            raise ValueError(f"has the pickle opcode {name}, which a file of tensors has no use for; nothing was run")

    def since_mark(self) -> list:
        for i in range(len(self.stack) - 1, -1, -1):
            if self.stack[i] is _MARK:
                items = self.stack[i + 1 :]
                del self.stack[i:]
                return items
        raise ValueError("damaged pickle (no mark)")

    def pop(self) -> Any:
        value = self.stack.pop()
        if value is _MARK:
            raise ValueError("damaged pickle (a mark instead of a value)")
        return value

    def allowed(self, module: Any, name: Any) -> Name:
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("damaged pickle (a global without a name)")
        found = Name(module, name)
        if str(found) not in self.calls:
            raise ValueError(f"asks for {found!s:.199}, which a file of tensors has no use for; nothing was run")
        return found

    def call(self, function: Any, arguments: Any) -> Any:
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise ValueError("damaged pickle (call of something that is not a function)")
        if len(arguments) > _MAX_ARGUMENTS:
            raise ValueError(f"{function} has {len(arguments)} arguments")
        try:
            return self.calls[str(function)](*arguments)
        except TypeError:
            raise ValueError(f"{function} has arguments that do not fit") from None

    def fill(self, pairs: list) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(pairs) % 2:
            raise ValueError("damaged pickle (items for something that is not a dictionary)")
        if not all(isinstance(key, (str, int)) for key in pairs[::2]):  # the hash of a deep tuple overflows the stack
            raise ValueError("has a dictionary key that is neither text nor a number")
        target.update(zip(pairs[::2], pairs[1::2], strict=True))
