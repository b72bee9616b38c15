"""CPU cores as devices: only a process of its own can tell, since JAX starts once."""

import os
import subprocess
import sys

import pytest

from vrjax import parallel

CODE = """
import jax
from vrjax import parallel
from vrjax.cli.common import cores_for
assert parallel.cores(3) == 3 and len(jax.devices()) == 3
assert parallel.cores(3) == 3
cores_for({"data": 2})  # too late, and not an error
assert dict(parallel.mesh({"data": -1}).shape)["data"] == 3
try:
    parallel.cores(2)
except RuntimeError as error:
    print(error)
"""


def test_cores_become_devices():
    env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"} | {"JAX_PLATFORMS": "cpu"}
    done = subprocess.run([sys.executable, "-c", CODE], env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "with 3 CPU devices; call cores(2) before" in done.stdout


def test_the_number_of_the_environment_stands():
    assert parallel.cores(2) == 8  # tests/conftest.py asks for eight
    with pytest.raises(ValueError, match="at least 1"):
        parallel.cores(0)
