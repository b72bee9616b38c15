"""Writes the small fixtures of tests/models from diffusers' own model: `python tests/models/make_fixtures.py`.

Per case: `<case>.safetensors`, the weights as diffusers names them, and `<case>_io.safetensors`: inputs, outputs, and
gradients of sum(output * weight) with respect to x and to two weights. Needs the `parity` extra (torch, diffusers).
"""

import pathlib

import torch
from diffusers import WanTransformer3DModel
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent / "fixtures"
BASE = {
    "num_attention_heads": 2,
    "attention_head_dim": 14,
    "in_channels": 3,
    "out_channels": 3,
    "text_dim": 8,
    "freq_dim": 16,
    "ffn_dim": 40,
    "num_layers": 2,
}
CASES = {
    "t2v": (BASE, 5, None),
    "image_branch": (BASE | {"in_channels": 7, "image_dim": 10, "added_kv_proj_dim": 28}, 512, 6),
}
GRID = (3, 4, 6)


def main():
    FOLDER.mkdir(exist_ok=True)
    for case, (config, rows, clip) in CASES.items():
        torch.manual_seed(1)
        model = WanTransformer3DModel(**config).eval()
        with torch.no_grad():
            for p in model.parameters():
                p.add_(torch.randn_like(p) * (0.3 if p.ndim < 2 else 0.05))
            model.proj_out.weight.mul_(2)
        io = {
            "x": torch.randn(*GRID, config["in_channels"]),
            "text": torch.randn(rows, 8),
            "weight": torch.randn(*GRID, 3),
            "time": torch.tensor([0.0, 1.5, 873.25]),
        }
        if clip:
            io["clip"] = torch.randn(clip, 10)
        tokens = GRID[0] * GRID[1] * GRID[2] // 4
        per_token = torch.full((tokens,), 1.5)
        per_token[: tokens // GRID[0]] = 0
        io["token_time"] = per_token

        def run(x, time, model=model, io=io):
            images = io["clip"][None] if "clip" in io else None
            out = model(x.permute(3, 0, 1, 2)[None], time[None], io["text"][None], images, return_dict=False)[0]
            return out[0].permute(1, 2, 3, 0)

        x = io["x"].clone().requires_grad_()
        (run(x, io["time"][1]) * io["weight"]).sum().backward()
        io["grad.x"] = x.grad
        for name in ("blocks.1.attn1.to_k.weight", "blocks.0.scale_shift_table"):
            io[f"grad.{name}"] = model.get_parameter(name).grad
        with torch.no_grad():
            io["v"] = torch.stack([run(io["x"], t) for t in io["time"]])
            io["token_v"] = run(io["x"], per_token)
        save_file({k: v.detach().contiguous() for k, v in model.state_dict().items()}, FOLDER / f"{case}.safetensors")
        save_file({k: v.detach().contiguous() for k, v in io.items()}, FOLDER / f"{case}_io.safetensors")


if __name__ == "__main__":
    main()
