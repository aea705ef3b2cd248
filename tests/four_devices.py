"""A CPU as four devices, in a process of its own, which fails unless arrays of all four are trained."""

from pathlib import Path

import warm

FOUR = """
import jax, sys
sys.path.insert(0, {tests!r})
from popjax.engine.backends.local import Batch
reach, used = Batch.reach, set()
def reached(batch, training, epoch):
    used.update(jax.tree.leaves(training)[0].devices())
    reach(batch, training, epoch)
Batch.reach = reached
{code}
assert len(used) == 4, used
"""


def on_four_devices(code: str, cwd: Path, environment: dict[str, str]) -> None:
    """Run code in a directory."""
    four = environment | {"XLA_FLAGS": "--xla_force_host_platform_device_count=4"}
    done = warm.python(FOUR.format(tests=str(Path(__file__).parent), code=code), cwd=cwd, environment=four)
    assert done.returncode == 0, done.stderr
