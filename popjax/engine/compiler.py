"""Compiles lowered programs in the background, each once in a process."""

import contextlib
import gc
import threading
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jax

from popjax.core.clock import Clock
from popjax.core.private_jax import write_entries_whole
from popjax.core.programs_on_disk import keep_programs
from popjax.engine.member import MemberFunctions, Programs, lower, signature
from popjax.engine.memory import crowded
from popjax.rewriting.target import on_cpu, target

KEPT = 12  # programs, of some 50 MB each
GPUS = ("gpu", "cuda", "rocm")
TUNING = "xla_gpu_per_fusion_autotune_cache_dir"  # XLA reads and writes there; no part of the key of JAX's own cache
ONCE = {"xla_backend_optimization_level": 1}  # for programs that run once per member: on a CPU, half the compile time


class Compiler:
    """Keeps the most recently used programs, so that a second search of the same or an equal task compiles nothing."""

    def __init__(self) -> None:
        write_entries_whole()
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="popjax-compile")
        self._tuning = threading.Lock()
        self._lock = threading.Lock()
        self._programs: OrderedDict[Any, Programs] = OrderedDict()

    def programs(
        self,
        functions: MemberFunctions,
        data: Any,
        capacity: int,
        lanes: int,
        clock: Clock,
        devices: int = 1,
        tuning: Path | None = None,
    ) -> Programs:
        """Futures of a member's programs on the abstract `data`; that of `score` is None for a task without one.

        Lowers in the caller's thread, since its JAX settings do not reach other threads. `clock` counts lowering and
        compiling; `tuning`: the directory of what a GPU's autotuner chose.
        """
        keep_programs()
        functions.trace(data)  # records what its functions read, also if the programs are cached
        key = signature(functions, data, capacity, lanes, devices)
        with self._lock:
            known = self._programs.get(key)
            if known is None or any(has_failed(future) for future in known):
                if crowded():
                    self._forget()
                with clock:
                    lowered = lower(functions, data, capacity, lanes, devices)
                tuned = tuning_options(tuning)
                once = tuned | (ONCE if jax.default_backend() == "cpu" else {})
                self._programs[key] = Programs(
                    self._compile(lowered.init, clock, once),
                    self._compile(lowered.epoch, clock, tuned),
                    self._compile(lowered.score, clock, once),
                )
            self._programs.move_to_end(key)
            while len(self._programs) > KEPT:
                self._programs.popitem(last=False)
            return self._programs[key]

    def _forget(self) -> None:
        """Drop all programs; those in use are held by their users."""
        self._programs.clear()
        gc.collect()

    def _compile(self, lowered: Any, clock: Clock, options: dict[str, Any]) -> "Future[Any] | None":
        # an accelerator's autotuner times kernels while others train: one program at once
        alone = contextlib.nullcontext() if on_cpu() else self._tuning

        def compile_it() -> Any:
            with alone, clock:
                return lowered.compile(compiler_options=options)

        return None if lowered is None else self._pool.submit(compile_it)


def tuning_options(directory: Path | None) -> dict[str, str]:
    """The compiler options of a program of a run that keeps in `directory` what XLA's autotuner chose on a GPU.

    So a resumed run and its workers have the same kernels: which is the fastest is measured by each process anew, and
    another one may round otherwise (openxla/xla#37902). None without a directory, on other devices, and where it cannot
    be made, as on another machine.
    """
    if directory is None or target() not in GPUS:
        return {}
    try:
        directory.mkdir(exist_ok=True)
    except OSError:
        return {}
    return {TUNING: str(directory)}


def has_failed(future: "Future[Any] | None") -> bool:
    """True if a compilation has ended with an error."""
    return future is not None and future.done() and future.exception() is not None


COMPILER = Compiler()
