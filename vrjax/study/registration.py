"""What a study says before it runs: `experiments/<paper>/claims.json`, read, checked, and kept with the tables.

    {"claims": [{"id": "cos.memory", "statement": ..., "statistic": ..., "unit": "share", "direction": "greater",
                 "smallest": 0.05, "role": "primary",
                 "null": "a calibrated believer",                                 # or null: the statistic has none
                 "gate": {"what": "entrant solved", "low": 0.6, "high": 0.97},    # or null, or a list
                 "control": {"what": "all blocks swapped: flipped", "low": 0.9},  # or null, or a list
                 # these may be left out:
                 "contrasts": [{"name": "agreement", "smallest": 0.5}, {"name": "own colour lost", "smallest": 0.3}],
                 "dose": ..., "bounds": [-1, 1], "paper": ..., "notes": ..., "how": {...}}],
     "seeds": 8,                                  # training seeds of the full run; may be left out
     "bill": {"training": 23, "measuring": 6.5}}  # core minutes per arm and seed, from a pilot

With `seeds`, a claim that has fewer in a full run gets no verdict; a claim may state a number of its own.

Contrasts must all hold, each against its own smallest effect of interest; one that states none has the claim's, and
where all state one the claim may have none. A study finds values for each by name.

`how` is the paper's own: how it reads the values from its tables. Gates, controls and doses are numbers that the study
measures by the name in `what`; their mean over all seeds must lie between `low` and `high`.
"""

import json
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vrjax.files import kept, writing
from vrjax.report.claims import load
from vrjax.report.judge import ALPHA, DIRECTIONS, number, range_of
from vrjax.report.record import KINDS, ROLES, Check, text

FILE = "registration.json"
NEEDED = ("id", "statement", "statistic", "unit", "direction", "smallest", "role", "null", "gate", "control")
ALLOWED = ("contrasts", "seeds", "dose", "bounds", "paper", "notes", "how")


@dataclass(frozen=True)
class Registration:
    """The claims of a paper, as registered.

    Attributes:
        path: of the file.
        claims: in order, every one with all of the fields that may be there.
        bill: core minutes per arm and seed.
        seeds: training seeds of the full run; None where that is not stated.
    """

    path: pathlib.Path
    claims: tuple[Mapping[str, Any], ...]
    bill: Mapping[str, float]
    seeds: int | None = None

    @property
    def primaries(self) -> tuple[str, ...]:
        """Ids of the primary claims."""
        return tuple(claim["id"] for claim in self.claims if claim["role"] == "primary")

    def keep(self, folder: pathlib.Path) -> None:
        """Keeps it beside the tables in `folder`, before there are any; or makes sure that it is what is kept there.

        Raises:
            ValueError: it has changed since, or the tables are older than it; says in which field of which claim.
        """
        if not (folder / FILE).exists():
            if folder.is_dir() and any(folder.glob("*.npz")):
                raise ValueError(f"{self.path}: the tables in {folder} were measured before anything was registered")
            folder.mkdir(parents=True, exist_ok=True)
            writing.json(folder / FILE, {"fingerprint": fingerprint(self.page), **self.page})
        self.same(kept_in(folder), folder)

    @property
    def page(self) -> dict[str, Any]:
        """All of it, as JSON holds it."""
        return {"claims": list(self.claims), "bill": dict(self.bill), "seeds": self.seeds}

    def same(self, then: Mapping[str, Any], where: pathlib.Path) -> None:
        """Makes sure that it is what was registered when the tables in `where` were measured.

        Raises:
            ValueError: it has changed since; says in which field of which claim.
        """
        by_id = lambda page: {
            "bill": page["bill"],
            "seeds": page.get("seeds"),
            **{claim["id"]: stated(claim) for claim in page["claims"]},
        }
        old, new = by_id(then), by_id(self.page)
        if list(old.items()) != list(new.items()):
            changed = writing.differences(old, new)
            raise ValueError(
                f"{self.path}: changed after the tables in {where} were measured: "
                f"{'; '.join(changed[:3]) or 'the order of claims'}; put it back, or measure afresh"
            )

    def enough(self, seeds: int) -> None:
        """Makes sure that every primary can be reproduced at all.

        Raises:
            ValueError: with so few seeds the smallest possible p-value, after Holm over all primaries, is too large.
        """
        if self.primaries and len(self.primaries) * 2.0**-seeds > ALPHA:
            raise ValueError(
                f"{self.path}: {len(self.primaries)} primaries, but with {seeds} seeds no p-value is below "
                f"1/{2**seeds}: expected at most {int(ALPHA * 2**seeds)}"
            )


def kept_in(folder: pathlib.Path) -> dict[str, Any]:
    """What is kept beside the tables in a folder.

    Raises:
        ValueError: nothing, or it is not what was written there.
    """
    try:
        then = json.loads((folder / FILE).read_text("utf-8"))
        if then.pop("fingerprint") == fingerprint(then):
            return then
    except FileNotFoundError:
        raise ValueError(f"{folder}: no {FILE}: its tables are of no registered study") from None
    except (OSError, ValueError, KeyError, AttributeError):
        pass
    raise ValueError(f"{folder / FILE}: torn or changed; it says what was registered when the tables were measured")


def stated(claim: Mapping[str, Any]) -> dict[str, Any]:
    """A registered claim without the fields that say nothing: the same claim whatever fields there may be one day."""
    return {name: value for name, value in claim.items() if value not in (None, "", [], {})}


def fingerprint(page: Mapping[str, Any]) -> str:
    """A hash of a registration, or of one claim in it."""
    return kept.key(**page)


def read(path: str | pathlib.Path, *, seeds: int | None = None) -> Registration:
    """The registration in a file, or in `claims.json` beside a module's file.

    Args:
        path: of either.
        seeds: that will be trained, which must be `enough`; None for a run without verdicts.

    Raises:
        FileNotFoundError: no such file. ValueError: naming the file, the claim and the field; too few seeds.
    """
    path = pathlib.Path(path)
    path = path.with_name("claims.json") if path.suffix == ".py" else path
    page = load(path, "registration", ("claims", "bill"), ("seeds",))
    if not isinstance(page["bill"], dict):
        raise ValueError(f"{path}: field 'bill': expected core minutes by arm, found {page['bill']!r}")
    bill = {name: number(f"{path}: bill.{name}", minutes) for name, minutes in page["bill"].items()}
    many = _whole(f"{path}: field 'seeds'", page.get("seeds"))
    claims: list[Mapping[str, Any]] = []
    for index, claim in enumerate(page["claims"]):
        where = f"{path}: claims[{index}]"
        if not isinstance(claim, dict):
            raise ValueError(f"{where}: expected an object, found {type(claim).__name__}")
        where += f" ({claim['id']!r})" if isinstance(claim.get("id"), str) else ""
        if unknown := sorted(set(claim) - {*NEEDED, *ALLOWED}):
            raise ValueError(f"{where}: unknown field {unknown[0]!r}; expected {', '.join((*NEEDED, *ALLOWED))}")
        apart = {"smallest"} if claim.get("contrasts") else set()  # the contrasts may have their own
        if lacking := [name for name in NEEDED if name not in {*claim, *apart}]:
            raise ValueError(f"{where}: missing field {lacking[0]!r}")
        claims.append(_checked(where, claim))
        if claim["id"] in [other["id"] for other in claims[:-1]]:
            raise ValueError(f"{where}: field 'id': stands there twice")
    found = Registration(path, tuple(claims), bill, many)
    if seeds is not None:
        found.enough(seeds)
    return found


def _checked(where: str, claim: dict[str, Any]) -> dict[str, Any]:
    """A claim whose fields are what they must be, with those that were left out."""
    field = f"{where}, field "
    for name in ("id", "statement", "statistic", "unit"):
        text(f"{field}{name!r}", claim[name])
    for name, options in (("direction", DIRECTIONS), ("role", ROLES)):
        if claim[name] not in options:
            raise ValueError(f"{field}{name!r}: expected one of {options}, found {claim[name]!r}")
    contrasts = _contrasts(field, claim)
    if claim.get("smallest") is not None or not contrasts:
        _above_0(f"{field}'smallest'", claim["smallest"])
    if claim["null"] is not None:
        text(f"{field}'null'", claim["null"])
    for kind in KINDS:
        checks(claim, kind, {}, field)
    if claim.get("bounds") is not None:
        range_of(f"{field}'bounds'", claim["bounds"])
    for name in ("paper", "notes"):
        text(f"{field}{name!r}", claim.get(name, ""), empty=True)
    if not isinstance(claim.get("how", {}), dict):
        raise ValueError(f"{field}'how': expected an object, found {claim['how']!r}")
    _whole(f"{field}'seeds'", claim.get("seeds"))
    defaults = {"smallest": None, "seeds": None, "dose": None, "bounds": None, "paper": "vrjax", "notes": "", "how": {}}
    return defaults | claim | {"contrasts": contrasts}


def _whole(where: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ValueError(f"{where}: expected a whole number of at least 1, found {value!r}")
    return value


def _above_0(where: str, value: Any) -> float:
    found = number(where, value)
    if found <= 0:
        raise ValueError(f"{where}: expected a number above 0, found {value}")
    return found


def _contrasts(field: str, claim: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The contrasts of a claim, name and smallest effect of each; an empty list where it has none of its own."""
    where = f"{field}'contrasts'"
    listed = claim.get("contrasts", [])
    if not isinstance(listed, list):
        raise ValueError(f"{where}: expected a list of objects with name and smallest, found {listed!r}")
    out: list[dict[str, Any]] = []
    for one in listed:
        if not isinstance(one, dict) or not {"name"} <= set(one) <= {"name", "smallest"}:
            raise ValueError(f"{where}: expected an object with name and smallest, found {one!r}")
        name = text(f"{where}: name", one["name"])
        if name in [other["name"] for other in out]:
            raise ValueError(f"{where}: {name!r} stands there twice")
        least = one["smallest"] if "smallest" in one else claim.get("smallest")
        if least is None:
            raise ValueError(f"{where}: {name!r} has no smallest effect of interest, nor has the claim")
        out.append({"name": name, "smallest": _above_0(f"{where}: smallest of {name!r}", least)})
    return out


def checks(
    claim: Mapping[str, Any], kind: str, measured: Mapping[str, Any], field: str = "field "
) -> tuple[Check, ...]:
    """The registered checks of one kind, with what was measured for them by name, one number per seed."""
    asked = claim.get(kind)
    out: list[Check] = []
    for one in asked if isinstance(asked, list) else [asked] if asked is not None else []:
        if not isinstance(one, dict) or not {"what"} < set(one) <= {"what", "low", "high"}:
            raise ValueError(f"{field}{kind!r}: expected an object with what and low or high or both, found {one!r}")
        values = measured.get(one["what"])
        values = None if values is None else [float(v) for v in values]
        try:
            mean = None if not values else sum(values) / len(values)
            out.append(Check(kind, one["what"], mean, one.get("low"), one.get("high"), tuple(values or ())))
        except ValueError as error:
            raise ValueError(f"{field}{kind!r}: {error}") from None
    return tuple(out)
