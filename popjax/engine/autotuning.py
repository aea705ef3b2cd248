"""What XLA's autotuner chose on a GPU, kept beside a run: a resumed run, and its workers, have the same kernels.

Which kernel is the fastest is measured by each process anew, and another one may round otherwise (openxla/xla#37902).
"""

from pathlib import Path

from popjax.rewriting.target import target

GPUS = ("gpu", "cuda", "rocm")
OPTION = "xla_gpu_per_fusion_autotune_cache_dir"  # XLA reads and writes there; no part of the key of JAX's own cache


def tuning_options(directory: Path | None) -> dict[str, str]:
    """The compiler options of a program of a run that keeps the choices in `directory`, which is made if it can be.

    None are needed without one, on other devices than GPUs, and where the run's directory is not on this machine.
    """
    if directory is None or target() not in GPUS:
        return {}
    try:
        directory.mkdir(exist_ok=True)
    except OSError:
        return {}
    return {OPTION: str(directory)}
