"""The PyTorch side: diffusers' WanTransformer3DModel, used as its pipelines use it."""

import importlib
import pathlib
from collections.abc import Callable
from typing import Any

import numpy as np

from experiments.bench import torch_motion
from experiments.bench.cases import Case


def library(name: str) -> Any:
    """A module that need not be installed where types are checked."""
    return importlib.import_module(name)


def start(cores: int, devices: int) -> None:
    """Sets the number of threads of one operation."""
    torch = library("torch")

    torch.set_num_threads(cores)


def initialise(case: Case, folder: pathlib.Path) -> None:
    """Writes a model with random weights, which both sides then load. Its output is of order 1."""
    torch = library("torch")
    diffusers = library("diffusers")

    if case.work == "motion":
        return torch_motion.initialise(case, folder)
    torch.manual_seed(0)
    with torch.device(device()):
        if case.vae:
            model = diffusers.AutoencoderKLWan(base_dim=case.width)
        else:
            model = diffusers.WanTransformer3DModel(**case.diffusers())
    model.save_pretrained(folder)


def device() -> str:
    """Where this side computes."""
    return "cuda" if library("torch").cuda.is_available() else "cpu"


def wait() -> None:
    """Until the device has done what it was given."""
    if device() == "cuda":
        library("torch").cuda.synchronize()


def gemm(size: int, dtype: str, often: int) -> Callable[[], Any]:
    """Matrix products, `often` of them one after another."""
    torch = library("torch")

    draw = lambda i: torch.from_numpy(np.random.default_rng(i).standard_normal((size, size), np.float32))
    a, b = (draw(i).to(device(), getattr(torch, dtype)) for i in range(2))

    def multiply():
        c = a
        for _ in range(often):
            c = a @ b
        wait()
        return c

    return multiply


def attention(arrays: list[np.ndarray], dtype: str) -> list[np.ndarray]:
    """Attention's output and the gradients of q, k and v in float64, of inputs rounded to `dtype`."""
    torch = library("torch")

    rounded = [torch.from_numpy(x).to(device(), getattr(torch, dtype)).double() for x in arrays]
    q, k, v = (x.requires_grad_() for x in rounded[:3])
    scores = torch.einsum("nhd,mhd->hnm", q, k) * q.shape[-1] ** -0.5
    out = torch.einsum("hnm,mhd->nhd", scores.softmax(-1), v)
    out.backward(rounded[3])
    return [x.detach().cpu().numpy() for x in (out, q.grad, k.grad, v.grad)]


def build(case: Case, folder: pathlib.Path, compiled: bool) -> Callable[[], np.ndarray | None]:
    """The timed call of a case; sampling and forward return what the two sides compare."""
    torch = library("torch")
    diffusers = library("diffusers")
    load_file = library("safetensors.torch").load_file

    if case.work == "motion":
        return torch_motion.build(case, folder, compiled)
    if case.vae:
        return _vae(case, load_file(folder / "diffusion_pytorch_model.safetensors"))
    dtype = getattr(torch, case.dtype)
    with torch.device(device()):
        model: Any = diffusers.WanTransformer3DModel(**case.diffusers())
    model.load_state_dict(load_file(folder / "diffusion_pytorch_model.safetensors"))
    for name, parameter in model.named_parameters():  # as from_pretrained does, which wants a further package for it
        keep = any(part in name.split(".") for part in model._keep_in_fp32_modules)
        parameter.data = parameter.data.to(torch.float32 if keep else dtype)
    arrays = {k: torch.from_numpy(v).to(device()) for k, v in case.arrays().items()}
    first = lambda x: x.permute(0, 4, 1, 2, 3).contiguous()  # channels first
    x, noise = first(arrays["x"]), first(arrays["noise"])
    text, negative = arrays["text"].to(dtype), arrays["negative"].to(dtype)
    net = model
    if compiled and device() == "cuda":  # the blocks are equal: compiling one serves all, as diffusers advises
        model.compile_repeated_blocks(fullgraph=True)
    elif compiled:
        net = torch.compile(model)

    def velocity(x, t, text):
        return net(x.to(dtype), t.expand(len(x)), text.expand(len(x), -1, -1), return_dict=False)[0]

    def numpy(x):
        return x.float().permute(0, 2, 3, 4, 1).cpu().numpy()

    if case.work == "forward":
        time = torch.tensor(500.0, device=device())

        @torch.inference_mode()
        def forward():
            out = velocity(x, time, text)
            wait()
            return numpy(out)

        return forward

    if case.work == "train":
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, betas=(0.9, 0.98), weight_decay=0.01)
        sigma = arrays["sigma"]

        def train():
            s = sigma.view(-1, 1, 1, 1, 1)
            noisy = (1 - s) * x + s * noise
            out = net(noisy.to(dtype), 1000 * sigma, text, return_dict=False)[0]
            loss = torch.mean((out.float() - (noise - x)) ** 2)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            return np.asarray(loss.item())

        return train

    if case.work == "ensemble":

        def couple(module, args, out):
            return out.mean(0, keepdim=True).expand_as(out)

        model.blocks[1].register_forward_hook(couple)

    @torch.inference_mode()
    def loop():
        scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=case.shift)
        scheduler.set_timesteps(case.steps, device=device())
        state, record = noise, []
        for i, t in enumerate(scheduler.timesteps):
            v = velocity(state, t, text)
            if case.work == "guided":
                other = velocity(state, t, negative)
                v = other + case.scale * (v - other)
            v = v.float()
            if case.work == "guided":  # what a trajectory holds
                record.append((state, v, state - scheduler.sigmas[i] * v))
            state = scheduler.step(v, t, state, return_dict=False)[0]
        wait()
        return numpy(state)

    return loop


def _vae(case: Case, weights: Any) -> Callable[[], np.ndarray]:
    """Encoding or decoding a clip, latents normalised as diffusers' pipelines do it."""
    torch = library("torch")
    with torch.device(device()):
        model: Any = library("diffusers").AutoencoderKLWan(base_dim=case.width)
        mean, std = (torch.tensor(model.config[name]).view(-1, 1, 1, 1) for name in ("latents_mean", "latents_std"))
    model.load_state_dict(weights)
    arrays = {k: torch.from_numpy(v).to(device()).permute(3, 0, 1, 2)[None] for k, v in case.arrays().items()}

    @torch.inference_mode()
    def run():
        if case.work == "encode":
            out = (model.encode(arrays["video"]).latent_dist.mode() - mean) / std
        else:
            out = model.decode(arrays["z"] * std + mean, return_dict=False)[0]
        wait()
        return out.permute(0, 2, 3, 4, 1).cpu().numpy()

    return run


def watch(call: Callable[[], Any], calls: int) -> dict[str, tuple[float, float]]:
    """Milliseconds and number of ATen's operations in a call, each without those that it calls."""
    profiler = library("torch.profiler")
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU]) as watched:
        for _ in range(calls):
            call()
    rows = watched.key_averages()
    return {row.key: (row.self_cpu_time_total / 1e3 / calls, row.count / calls) for row in rows}
