"""`python -m popjax.doctor`: what this machine has for popjax, and what may be missing."""

import dataclasses
import importlib.util
import os
import platform
import shutil
from pathlib import Path

from popjax.commands import cli
from popjax.commands.experiment import Experiment, RowsOptions
from popjax.commands.options import Missing, Text
from popjax.core.storage import why_unwritable
from popjax.core.text import install, printable

EXTRAS = {  # package -> its use
    "optuna": "the samplers cmaes and gp",
    "cmaes": "the sampler cmaes",
    "torch": "the sampler gp",
    "equinox": "equinox modules as models",
    "onnx": "popjax export --to onnx",
    "flatbuffers": "Predictor.export",
    "starlette": "--live",
    "uvicorn": "--live",
    "distributed": "--executor dask",
    "ray": "--executor ray",
    "submitit": "--executor slurm",
    "tensorboardX": "--track tensorboard",
    "mlflow": "--track mlflow",
    "wandb": "--track wandb",
    "trackio": "--track trackio",
    "pandas": "DataFrames in, and Results.to_pandas",
}

DETERMINISTIC = ("--xla_gpu_exclude_nondeterministic_ops", "--xla_gpu_deterministic_ops")  # the second is tuned less


@dataclasses.dataclass(frozen=True)
class Arguments(RowsOptions):
    """Report what this machine has: devices, memory, versions, what can be written, and what may be installed.

    Or with --dataset all that is wrong or doubtful in a file of rows, and what each of its columns becomes; nothing is
    trained.
    """

    dataset: Text = None
    """the file of rows, as of a sweep"""
    target: Text = None
    """the column to predict, or several: a,b"""
    missing: Missing = None
    """what a sweep would do with missing cells"""
    model: str = Experiment.model
    """the model of the sweep: tabular takes missing cells as they are"""


def main(argv: list[str] | None = None) -> int:
    """Run the command; return 0, or 2 if the working directory or the cache cannot be written to."""
    arguments = cli.parse(Arguments, "doctor", argv)
    if arguments.dataset is not None:
        from popjax.commands.examining import examined

        experiment = Experiment(**dataclasses.asdict(arguments))
        experiment.check_notation()
        print(printable(examined(experiment)))
        return 0
    for field in dataclasses.fields(Arguments):
        if getattr(arguments, field.name) != field.default:
            raise ValueError(f"--{field.name} needs --dataset: the file of rows")
    from popjax.commands.experiment import describe_device
    from popjax.core.machine import versions
    from popjax.core.programs_on_disk import cache_directory
    from popjax.engine.memory import free, total
    from popjax.store.cleaning import bytes_in

    known = versions()
    print(f"popjax {known.pop('popjax')}, Python {platform.python_version()}, {platform.platform()}")
    print(", ".join(f"{name} {version}" for name, version in known.items()))
    print(f"device: {describe_device()}")
    print(f"memory for models: {gibibytes(total())}, {gibibytes(free())} free now")
    for line in of_kernels():
        print(line)
    here, cache = Path.cwd(), cache_directory()
    complaints = [complaint for place in (here, cache) if (complaint := why_unwritable(place))]
    print(f"programs that were compiled are kept in {cache}: {bytes_in([cache]) / 2**20:.0f} MiB")
    print(f"free on the disk here: {shutil.disk_usage(here).free / 2**30:.1f} GiB")
    for package, what in EXTRAS.items():
        if importlib.util.find_spec(package) is None:
            print(f"not installed: {package}, for {what} ({install(package)})")
    for complaint in complaints:
        print(complaint)
    print("all is well" if not complaints else "see above")
    return cli.BAD_INPUT if complaints else 0


def of_kernels() -> list[str]:
    """What is to be known of a GPU's kernels, if there is one: whether their bits are fixed, and known faults."""
    import jax

    card, flags = jax.devices()[0], os.environ.get("XLA_FLAGS", "").lower().split()
    if card.platform != "gpu":
        return []
    fixed = [flag for flag in DETERMINISTIC if {flag, f"{flag}=true", f"{flag}=1"} & set(flags)]
    said = f"set by {fixed[0]}" if fixed else f"XLA_FLAGS={DETERMINISTIC[0]}=true makes them so"
    lines = [f"kernels that give the same bits each time: {said}"]
    if "--xla_gpu_autotune_level=0" in flags:
        lines.append("kernels are not tuned (--xla_gpu_autotune_level=0): slower, and the same in each process")
    if getattr(card, "compute_capability", "") == "12.0":
        lines.append("compiling took minutes a program on this kind of card with some versions (openxla/xla#44517)")
    return lines


def gibibytes(count: int | None) -> str:
    """A number of bytes, as text."""
    return "unknown" if count is None else f"{count / 2**30:.1f} GiB"
