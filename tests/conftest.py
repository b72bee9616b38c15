"""Test session set-up: eight fake CPU devices, quick compilation and its persistent cache, all before jax is imported;
at the end, what each room took."""

import gc
import os
import pathlib

os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Most of the suite's time is the compiler's. Programs of tiny models need no optimised machine code, only the same
# mathematics: LLVM's passes are left out, and so are the emitters of loops that build every kernel by MLIR.
os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
QUICK = "--xla_backend_optimization_level=0 --xla_backend_extra_options=xla_cpu_disable_new_fusion_emitters"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=8 {QUICK}"
_cache = pathlib.Path(__file__).parent.parent / ".cache" / "jax"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(_cache))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")
os.environ.setdefault("HF_HUB_OFFLINE", "1")  # a mistyped folder may look like a model's id

# What is imported stays: let no collection of garbage look at it again and again.
gc.disable()

import pytest  # noqa: E402


def pytest_collection_finish():
    gc.freeze()
    gc.enable()
    gc.set_threshold(20_000, 20, 20)


def pytest_collection_modifyitems(items):
    """Skip tests whose tools are absent (parity, plan, browser), except those that VRJAX_REQUIRE names (CI does)."""
    import importlib.util
    import shutil

    have = {
        "parity": all(importlib.util.find_spec(m) for m in ("torch", "diffusers")),
        "plan": bool(importlib.util.find_spec("libtpu")),
        "browser": bool(importlib.util.find_spec("playwright"))
        and any(shutil.which(b) for b in ("chromium", "chromium-browser", "google-chrome")),
    }
    why = {
        "parity": "needs the `parity` extra (torch, diffusers)",
        "plan": "needs the `plan` extra (libtpu)",
        "browser": "needs Chromium and playwright",
    }
    required = os.environ.get("VRJAX_REQUIRE", "").split(",")
    for item in items:
        for mark in have:
            if item.get_closest_marker(mark) and not have[mark] and mark not in required:
                item.add_marker(pytest.mark.skip(reason=why[mark]))


MAPS = 30_000
"""Memory maps of a worker beyond which its compiled programs are dropped: Linux gives a process 65,530, and whoever
compiles when there are none left is killed. A program holds several."""


def pytest_runtest_teardown(item, nextitem):
    """Between two files, drop the compiled programs of a worker that holds many; the persistent cache has them."""
    if nextitem is not None and nextitem.path == item.path:
        return
    maps = pathlib.Path("/proc/self/maps")
    if maps.exists() and maps.read_bytes().count(b"\n") > MAPS:
        import jax

        jax.clear_caches()
        gc.collect()


def pytest_terminal_summary(terminalreporter):
    """A line per room with its seconds: of all tests, their fixtures included, summed over workers."""
    rooms: dict[str, list[float]] = {}
    for reports in terminalreporter.stats.values():
        for report in reports:
            if hasattr(report, "duration") and hasattr(report, "nodeid"):
                parts = report.nodeid.split("::")[0].split("/")
                rooms.setdefault("/".join(parts[:2]) if len(parts) > 2 else parts[0], []).append(report.duration)
    if rooms:
        terminalreporter.section("seconds by room")
    for room, found in sorted(rooms.items(), key=lambda item: -sum(item[1])):
        terminalreporter.write_line(f"{sum(found):7.1f} s  {room}")
