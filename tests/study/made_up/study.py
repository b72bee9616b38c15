"""A made-up paper: coins that fall, eight training seeds of them; every part of a real one in little."""

import dataclasses

import numpy as np

from vrjax.report import parts
from vrjax.report import tables as report
from vrjax.study import claims, command, registration, sizes
from vrjax.study.tables import made_of, running


@dataclasses.dataclass(frozen=True, kw_only=True)
class Coins(sizes.Study):
    bases: int = 8
    coins: int = 40
    resamples: int = 200
    stop: int = 99
    MAY_BE_ZERO = ("stop",)


def thrown(seed, coins):
    rng = np.random.default_rng(seed)
    heads, tails = rng.random((2, coins, 3)) < np.array([0.9, 0.2])[:, None, None]
    return {"heads": heads, "tails": tails, "height": rng.normal(size=coins).astype(np.float32)}


def job(study, options, console):
    asked = registration.read(__file__)
    how = {"kind": "made_up", "fresh": options.fresh, "console": console, "registered": asked.keep}
    with running(options.out / study.name, made_of(study), **how) as bench:
        tables = {}
        for k in range(study.bases):
            if k == study.stop:
                raise KeyboardInterrupt
            tables[f"seed-{k}"] = bench.part(f"seed-{k}", lambda k=k: thrown(k, study.coins), of=k)
        bench.part("film", lambda: {"film": np.zeros((3, 4, 4), np.uint8)}, packed=False)
        found, _ = judged(study, asked, tables)
        claims.files.write(bench.folder, found, registered=asked.claims)
        claims.tell(console, [*found, *claims.missing(asked, found)])


def judged(study, asked, tables):
    seeds = [tables[f"seed-{k}"] for k in range(study.bases) if f"seed-{k}" in tables]
    stack = lambda name: np.stack([table[name] for table in seeds]).astype(float)
    values = {"over tails": stack("heads") - stack("tails"), "over half": stack("heads") - 0.5}
    found = {"coins.heads": claims.Finding(values, measured={"thrown": [1.0] * len(seeds)})}
    found["coins.height"] = claims.Finding(stack("height")[..., None])
    rates = [[str(k), f"{table['heads'].mean():.3f}"] for k, table in enumerate(seeds)]
    rows = claims.settle(asked, found, quick=study.quick, resamples=study.resamples)
    return rows, {"rates": report.markdown(("seed", "heads"), rates)}


def drawn(study, tables):
    rates = [tables[f"seed-{k}"]["heads"].mean() for k in range(study.bases) if f"seed-{k}" in tables]
    return [parts.Curve("Heads", [parts.Series("coins", rates)])]


def main(argv=None):
    return command.main("made_up", __doc__, job, argv, full="eight seeds", judged=judged, drawn=drawn)
