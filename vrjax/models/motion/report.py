"""What a file of weights held besides the parameters of the network that was made of it."""

import dataclasses


@dataclasses.dataclass(frozen=True, eq=False)
class Report:
    """Keys of a file that are no parameter of the network, and parameters that the file does not have, by their keys.

    All reports are equal: a network carries its report through transformations, and where its numbers come from is no
    reason to compile a function anew.

    Attributes:
        ignored: known and of no use here: tables that are computed, layers of another task.
        missing: parameters that kept their random start.
        unexpected: unknown.
        transferred: of a start from another model's weights, the parameters that were taken over.
    """

    ignored: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    transferred: tuple[str, ...] = ()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Report)

    def __hash__(self) -> int:
        return hash(Report)

    def __str__(self) -> str:
        parts = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        lines = [f"{name}: {len(keys)} ({', '.join(keys)})" for name, keys in parts.items() if keys]
        return "\n".join(lines) or "every tensor of the file is a parameter, and every parameter is in the file"
