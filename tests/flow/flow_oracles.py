"""Independent references for the samplers: an analytic flow, and diffusers' schedulers stepped by hand.

`python tests/flow/flow_oracles.py` (needs the `parity` extra) writes fixtures/schedulers.json, read by the light tests.
"""

import contextlib
import json
import pathlib

import numpy as np

FIXTURES = pathlib.Path(__file__).parent / "fixtures" / "schedulers.json"
START = np.array([[1.3, -0.4, 0.2], [-1.9, 0.7, 0.05]])
MEAN, DEVIATION = 0.7, 0.5


def gaussian(x, sigma):
    """The exact velocity for data ~ N(MEAN, DEVIATION^2), by conditioning of jointly Gaussian variables."""
    centred = (x - (1 - sigma) * MEAN) / ((1 - sigma) ** 2 * DEVIATION**2 + sigma**2)
    return sigma * centred - (MEAN + (1 - sigma) * DEVIATION**2 * centred)


def gaussian_flow(x, start, end):
    """Where the exact flow of `gaussian` carries x from one sigma to another: the standardised state does not move."""
    deviation = lambda s: np.sqrt((1 - s) ** 2 * DEVIATION**2 + s**2)
    return (1 - end) * MEAN + deviation(end) * (x - (1 - start) * MEAN) / deviation(start)


def curved(x, sigma, sin=np.sin):
    """A velocity that is not linear in x, for comparing trajectories."""
    return gaussian(x, sigma) + 0.4 * sin(2 * x + 3 * sigma)


# What follows runs diffusers. Each case: scheduler, its arguments, and the grid of ours to step on.
UNIPC = dict(prediction_type="flow_prediction", use_flow_sigmas=True)
CASES = {
    "euler": ("FlowMatchEulerDiscreteScheduler", {}, "diffusers_euler"),
    "heun": ("FlowMatchHeunDiscreteScheduler", {}, "shifted"),
    "dpmpp_2m": ("DPMSolverMultistepScheduler", dict(UNIPC, algorithm_type="dpmsolver++", solver_order=2), "wan_dpmpp"),
    "unipc_1_bh2": ("UniPCMultistepScheduler", dict(UNIPC, solver_order=1), "diffusers_unipc"),
    "unipc_2_bh2": ("UniPCMultistepScheduler", dict(UNIPC, solver_order=2), "diffusers_unipc"),
    "unipc_3_bh2": ("UniPCMultistepScheduler", dict(UNIPC, solver_order=3), "wan_unipc"),
    "unipc_2_bh1": ("UniPCMultistepScheduler", dict(UNIPC, solver_order=2, solver_type="bh1"), "wan_unipc"),
    "unipc_3_bh1": ("UniPCMultistepScheduler", dict(UNIPC, solver_order=3, solver_type="bh1"), "diffusers_unipc"),
}


def ours(name):
    """The Solver of ours that a case stands for."""
    from vrjax.flow import solvers

    if name.startswith("unipc"):
        _, order, variant = name.split("_")
        return solvers.get("unipc", order=int(order), variant=variant)
    return solvers.get(name)


def sigmas_of(name, steps, shift):
    """What a case steps on. bh1 has no limit at sigma 0 (diffusers' states become NaN there), so it stops above it."""
    from vrjax.flow import grids

    sigmas = getattr(grids, CASES[name][2])(steps, shift).sigmas
    return np.append(sigmas[:-1], 0.5 * sigmas[-2]) if name.endswith("bh1") else sigmas


def diffusers_states(name, sigmas, velocity=curved, start=START, dtype="float64"):
    """States that diffusers' scheduler shows the network on the given sigmas, and the last: [S + 1, ...].

    The scheduler is given the sigmas in the precision asked for: by itself it rounds them to float32. For float64 its
    casts of the state to float32 are turned into float64 as well; nothing else of it is changed.
    """
    import diffusers
    import torch

    cls, options, _ = CASES[name]
    scheduler = getattr(diffusers, cls)(**options)
    steps = len(sigmas) - 1
    scheduler.set_timesteps(steps)
    precision = getattr(torch, dtype)
    levels = torch.tensor(np.asarray(sigmas), dtype=precision)
    heun = name == "heun"
    if heun:
        levels = torch.cat([levels[:1], levels[1:-1].repeat_interleave(2), levels[-1:]])
    scheduler.sigmas = levels
    scheduler.set_begin_index(0)
    x = torch.tensor(start, dtype=precision)
    states = [x.numpy()]
    with double_precision(torch) if dtype == "float64" else contextlib.nullcontext():
        for i, t in enumerate(scheduler.timesteps):
            v = torch.tensor(velocity(x.numpy(), levels[i].numpy())).to(precision)
            x = scheduler.step(v, t, x, return_dict=False)[0]
            if not heun or i % 2 == 1 or i == 2 * steps - 2:
                states.append(x.numpy())
    return np.stack(states)


@contextlib.contextmanager
def double_precision(torch):
    single = torch.float32
    torch.set_default_dtype(torch.float64)
    torch.float32 = torch.float64
    try:
        yield
    finally:
        torch.float32 = single
        torch.set_default_dtype(single)


GRIDS = [(50, 5.0), (40, 12.0), (10, 3.0)]


def diffusers_grids():
    """(sigmas, times) of the pipelines' own grids, as diffusers computes them, in float32."""
    from diffusers import FlowMatchEulerDiscreteScheduler, UniPCMultistepScheduler

    out = {}
    for steps, shift in GRIDS:
        u = UniPCMultistepScheduler(**UNIPC, flow_shift=shift)
        e = FlowMatchEulerDiscreteScheduler(shift=shift)
        for name, scheduler in (("diffusers_unipc", u), ("diffusers_euler", e)):
            scheduler.set_timesteps(steps)
            out[f"{name} {steps} {shift}"] = (scheduler.sigmas.double().tolist(), scheduler.timesteps.double().tolist())
    return out


def write():
    states = {}
    for name in CASES:
        sigmas = sigmas_of(name, 8, 3.0)
        states[name] = {"sigmas": sigmas.tolist(), "states": diffusers_states(name, sigmas).tolist()}
    FIXTURES.parent.mkdir(exist_ok=True)
    FIXTURES.write_text(json.dumps({"states": states, "grids": diffusers_grids()}, indent=None) + "\n")


if __name__ == "__main__":
    write()
