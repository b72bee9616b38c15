"""Writes fixtures/{zip,stream}.pth and pth.npz with torch.save: `python tests/files/make_pth_fixtures.py`.

The same state dict in both of torch's containers: every dtype, a transposed view, two views of one storage, an expanded
view, a parameter, a scalar, an empty tensor and a nested dictionary. Needs the `parity` extra (torch).
"""

import collections
import pathlib

import numpy as np
import torch

FOLDER = pathlib.Path(__file__).parent / "fixtures"
DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


def main():
    torch.manual_seed(0)
    base = torch.randn(3, 4)
    state = collections.OrderedDict((name, (base * 3).to(getattr(torch, name))) for name in DTYPES)
    state |= {
        "transposed": base.T,
        "part": base[1:, ::2],
        "expanded": torch.arange(3.0)[:, None].expand(3, 2),
        "parameter": torch.nn.Parameter(torch.randn(2)),
        "scalar": torch.tensor(1.5),
        "empty": torch.zeros(0, 3),
    }
    state._metadata = {"": {"version": 1}}
    tree = {"generator": state, "step.weight": torch.tensor([7])}
    flat = {f"generator.{key}": value for key, value in state.items()} | {"step.weight": tree["step.weight"]}
    np.savez_compressed(FOLDER / "pth.npz", **{k: v.detach().float().numpy() for k, v in flat.items()})
    torch.save(tree, FOLDER / "zip.pth")
    torch.save(tree, FOLDER / "stream.pth", _use_new_zipfile_serialization=False)


if __name__ == "__main__":
    main()
