"""Test session set-up: eight fake CPU devices and the persistent compilation cache, both before jax is imported."""

import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = os.environ.get("XLA_FLAGS", "") + " --xla_force_host_platform_device_count=8"
_cache = pathlib.Path(__file__).parent.parent / ".cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.5")

import pytest  # noqa: E402


def pytest_collection_modifyitems(items):
    """Skip parity and browser tests where their tools are absent; in CI their absence is a failure, not a skip."""
    import importlib.util
    import shutil

    have_torch = all(importlib.util.find_spec(m) for m in ("torch", "diffusers"))
    have_browser = bool(importlib.util.find_spec("playwright")) and any(
        shutil.which(b) for b in ("chromium", "chromium-browser", "google-chrome")
    )
    if os.environ.get("CI"):
        return
    for item in items:
        if item.get_closest_marker("parity") and not have_torch:
            item.add_marker(pytest.mark.skip(reason="needs the `parity` extra (torch, diffusers)"))
        if item.get_closest_marker("browser") and not have_browser:
            item.add_marker(pytest.mark.skip(reason="needs Chromium and playwright"))
