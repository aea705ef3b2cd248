"""What the commands train: a model with an optimizer on a dataset, or the user's own task."""

import contextlib
import dataclasses
import importlib
import os
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self, get_args, get_origin, get_type_hints

from popjax.commands.options import Missing, Text, Weights
from popjax.core.counts import check_seed
from popjax.core.faults import fault
from popjax.core.programs_on_disk import enable_cache
from popjax.core.text import install, printable, tell

if TYPE_CHECKING:
    from popjax.data.dataset import Dataset
    from popjax.data.notation import Notation
    from popjax.data.parts import Parts
    from popjax.data.targets import Reads
    from popjax.task import Task


@dataclasses.dataclass(frozen=True)
class RowsOptions:
    """Options of the rows of a file."""

    kind: Text = None
    """what the target is: classification, multilabel or regression (default: texts, truth values and few different
    integers are classes)"""
    drop: Text = None
    """columns of the file to leave out: id,date"""
    na: Text = None
    """texts that mean a missing cell, beside the empty one and nan: NA,n/a"""
    thousands: Text = None
    """of CSV files: the sign between thousands, such as , (default: none)"""
    decimal: Text = None
    """of CSV files: the sign before decimals (default: .)"""
    dates: Text = None
    """columns that hold dates of ISO 8601, and become year, month, weekday, day of the year and days: auto (all whose
    cells are dates), none, or names: a,b (default: auto)"""
    validation: Text = None
    """a file of rows that rank the trials (default: a tenth of the rows)"""
    test: Text = None
    """a file of rows that no trial sees, scored once for the winner (default: a tenth of the rows)"""
    groups: Text = None
    """the column of groups: rows of a group are never split over two parts"""
    class_weight: Weights = None
    """balanced: rows of rare classes weigh more in the training loss"""
    metrics: Text = None
    """further metrics: f1,auc,log_loss,mcc for classes; rmse,mape,median_error for a regression"""


@dataclasses.dataclass(frozen=True)
class Experiment(RowsOptions):
    """What is trained, by the options of the command line."""

    dataset: str = "digits"
    """digits, wine, breast_cancer, diabetes, or a CSV, TSV, Parquet or NPZ file"""
    target: Text = None
    """the column to predict, or several: a,b (an array's name for NPZ)"""
    missing: Missing = None
    """what to do with missing cells: error, drop the row, median (of a text column, the most frequent text), or auto (a
    missing text is a level, a missing number the training rows' median, with an indicator beside it) (default: error,
    of tabular auto)"""
    model: str = "mlp"
    """the model: mlp, tabular for tables, or cnn for images"""
    optimizer: Text = None
    """sgd, nesterov, adam, adamw or rmsprop; a sweep also takes several: 'choice(sgd,adam)' (default: sgd, of tabular
    and cnn adamw)"""
    schedule: Text = None
    """the schedule of the learning rate: inverse, exponential, cosine or flat (default: inverse, of tabular
    and cnn flat)"""
    transform: Text = None
    """the transform of the features: standardize, global, robust, quantile or none (default: of images global, of
    tabular robust, else standardize)"""
    rewrite: Literal["fast", "none"] = "fast"
    """none: convolutions, pools and products of cnn are computed as they are written, and slower"""
    ordered: bool = False
    """rows are in order of time: the last ones test, those before them validate, and the first ones train"""
    task: Text = None
    """your own Task, as module:attribute"""
    seed: int = 0
    """the seed of the split, the points and the models"""

    @property
    def stem(self) -> str:
        """Stem of the name of a results directory."""
        return (self.task or Path(self.dataset).stem).replace(":", "-")

    def check(self) -> None:
        """Raise ValueError for options that the user's own task does not read."""
        if self.task is None:
            return
        for field in dataclasses.fields(Experiment):
            given = getattr(self, field.name)
            if field.name not in ("task", "seed") and given != field.default:
                raise ValueError(
                    f"--{field.name.replace('_', '-')} {given}: --task {self.task} does not read it; leave one out"
                )

    def untold(self) -> list[str]:
        """The arguments that a directory is not trusted to name: files, or the user's own code."""
        if self.task is not None:
            return ["--task", self.task]
        named = {"target": self.target} if is_file(self.dataset) else {}
        files = {"dataset": self.dataset} if is_file(self.dataset) else {}
        given = files | named | {"validation": self.validation, "test": self.test}
        return [word for name, value in given.items() if value is not None for word in (f"--{name}", value)]

    def files(self) -> list[str | None]:
        """The files of all rows, of validation and of test rows, or None. Raises ValueError for other kinds of file."""
        from popjax.data.dataset import READERS

        for name in ("validation", "test"):
            file = getattr(self, name)
            if file is not None and Path(file).suffix.lower() not in READERS:
                what = f"--{name} {file!r} is no file of rows ({', '.join(READERS)})"
                raise ValueError(f"{what}; name one, or leave it out for a tenth of the rows")
        return [self.dataset, self.validation, self.test]

    def rows(self, dataset: "Dataset") -> str:
        """One line of text: source and number of the rows, and what is predicted."""
        names = " + ".join([dataset.name, *filter(None, (self.validation, self.test))])
        return f"dataset: {names}, {len(dataset.y)} rows, {dataset.words}"

    def load(self) -> "Parts":
        """The dataset and its parts (see `parts`); what is doubtful about the rows of files is told."""
        parts = self.parts()
        for doubt in parts.dataset.doubts if is_file(self.dataset) else ():
            tell(f"popjax: {printable(doubt)}")
        return parts

    def parts(self) -> "Parts":
        """The dataset and its parts, checked, without JAX but for a model that may take missing cells.

        Raises ValueError, with a line for each error of the files.
        """
        from popjax.data.dataset import check_missing, load
        from popjax.data.parts import SHARE, Parts, as_table, parts_of
        from popjax.data.table import Reading
        from popjax.data.transforms.applying import missing_for

        usual = "error" if self.model == Experiment.model else self.usual("missing")
        missing = missing_for(self.transform, self.missing, usual)
        if not is_file(self.dataset):
            for name in ("drop", "na", "thousands", "decimal", "dates", "validation", "test", "groups", "kind"):
                if getattr(self, name) is not None:
                    raise ValueError(
                        f"--{name}: the dataset {self.dataset} has rows and targets of its own; leave it out"
                    )
            return Parts(load(self.dataset, self.target, missing, self.reads()), SHARE, SHARE, None)
        check_missing(missing)
        named = {"auto": None, "none": ()}.get(self.dates or "auto", comma_list("dates", self.dates, spaces=True))
        how = Reading(
            drop=comma_list("drop", self.drop, spaces=True),
            na=comma_list("na", self.na),
            groups=self.groups,
            notation=notation_of(self.thousands, self.decimal),
            dates=named,
        )
        targets = comma_list("target", self.target)

        def table(file: str) -> Any:
            try:
                return as_table(file, self.target, how)
            except ValueError:
                if len(targets) < 2:
                    raise
            return as_table(file, targets, how)  # no column has the whole text as its name

        rows, validation, test = (SHARE if file is None else table(file) for file in self.files())
        return parts_of(rows, validation, test, self.groups, None, missing, self.reads())

    def check_notation(self) -> None:
        """Raise ValueError for --thousands or --decimal where no file has numbers as texts."""
        texts = any(Path(file).suffix.lower() in (".csv", ".tsv") for file in self.files() if file is not None)
        for name in ("thousands", "decimal"):
            if getattr(self, name) is not None and not texts:
                raise ValueError(f"--{name}: numbers of {self.dataset!r} are no texts; leave it out")

    def reads(self) -> "Reads | None":
        """How targets of --kind are read; None, which imports no JAX, without it. Raises ValueError."""
        if self.kind is None:
            return None
        from popjax.supervision.kinds.named_kinds import reader_of

        return reader_of(self.kind)

    def supervised(self, parts: "Parts", folds: int = 1) -> "Task":
        """The Task on the dataset, in `folds` folds."""
        enable_cache()
        from popjax.supervision.supervised import supervised

        task = supervised(
            parts.dataset,
            self.model,
            self.optimizer,
            validation=parts.validation,
            test=parts.test,
            groups=parts.groups,
            shuffle=not self.ordered,
            class_weight=self.class_weight,
            metrics=comma_list("metrics", self.metrics),
            seed=self.seed,
            schedule=self.schedule,
            missing=self.missing,
            transform=self.transform,
            rewrite=self.rewrite,
        )
        return task.in_folds(folds)

    def usual(self, name: str) -> str:
        """What the model has by default: its "missing", "optimizer" or "schedule". Raises ValueError without one."""
        from popjax.models.built_in import model_named

        return str(getattr(model_named(self.model), name))

    def users_task(self) -> "Task":
        """The Task that `task` names, imported with the working directory on the path. Raises ValueError."""
        module, _, attribute = str(self.task).partition(":")
        if not attribute:
            raise ValueError(f"--task {self.task!r}: write module:attribute")
        enable_cache()
        sys.path.insert(0, os.getcwd())
        try:
            with contextlib.redirect_stdout(sys.stderr):  # on which a command's own output may be JSON alone
                task = getattr(importlib.import_module(module), attribute)
        except Exception as error:
            raise self.fault_of(error) from None
        from popjax.task import Task

        if not isinstance(task, Task):
            raise ValueError(f"--task {self.task!r} is a {type(task).__name__}; make it a popjax.Task")
        return task

    def fault_of(self, error: Exception) -> ValueError:
        """ValueError with an error of the user's code and its place, in one line."""
        if isinstance(error, ModuleNotFoundError) and error.name in sys.modules:
            remedy = "start the workers in this folder, or with it in their PYTHONPATH"
            return ValueError(
                f"--task {self.task!r}: a worker cannot import {error.name!r}, as this process can: {remedy}"
            )
        return ValueError(fault(f"--task {self.task!r}", error))

    @classmethod
    def again(cls, run: Mapping[str, Any], command: str, given: Mapping[str, Any]) -> Self:
        """The experiment of an earlier run, with the options of `given` that are not None.

        A directory may come from a stranger, so a file or a module that it names is never opened: ValueError asks the
        user to name it again, by `command`. Raises ValueError also for a run not made by a command, or damaged.
        """
        recorded, hints = run.get("arguments"), get_type_hints(cls)
        if not isinstance(recorded, dict) or "dataset" not in recorded:
            raise ValueError(f"{command}: no command of popjax made it; go on with it in your own script")
        recorded = {field.name: field.default for field in dataclasses.fields(cls)} | recorded  # of an earlier version
        named = {name: value for name, value in given.items() if value is not None}
        if "dataset" in named:  # other rows, to which the recorded files do not belong
            recorded = recorded | {"task": None, "validation": None, "test": None}
        fields: dict[str, Any] = {name: named.get(name, recorded[name]) for name in hints}
        for name, value in fields.items():
            if not fits(value, hints[name]):
                raise ValueError(f"{command}: the run's {name} is {value!r}; it is damaged, so train it again")
            if isinstance(value, list):
                fields[name] = tuple(value)
        check_seed(fields["seed"], "--seed ")
        if named.keys() & {"dataset", "task"}:
            return cls(**fields)
        experiment = cls(**fields)
        own: dict[str, Any] = {name: None for name in ("validation", "test") if name in named}
        if not dataclasses.replace(experiment, **own).untold():
            return experiment
        what = "files" if experiment.validation or experiment.test else "a file"
        what = what if experiment.task is None else "a task of your own"
        again = shlex.join(experiment.untold())
        raise ValueError(f"the search was over {what}, which must be given again: {command} {again}")


def fits(value: Any, hint: Any) -> bool:
    """True if a value of a JSON or TOML file is of the type of a dataclass's field.

    >>> fits(2, float | None), fits(True, int), fits(["a=1"], tuple[str, ...]), fits("b", Literal["a"])
    (True, False, True, False)
    """
    kind, inner = get_origin(hint), get_args(hint)
    if kind is Literal:
        return isinstance(value, str) and value in inner
    if kind is tuple:
        return isinstance(value, list | tuple) and all(fits(each, inner[0]) for each in value)
    if inner:
        return any(fits(value, each) for each in inner)
    return type(value) is hint or (hint is float and type(value) is int)


def comma_list(name: str, text: str | None, spaces: bool = False) -> tuple[str, ...]:
    """The words of a list with commas, stripped if not `spaces`; () for None. Raises ValueError for an empty word."""
    words = tuple(word if spaces else word.strip() for word in (text or "").split(","))
    if text is not None and not all(map(str.strip, words)):
        raise ValueError(f"--{name} {text!r}: write names with commas between them, such as a,b")
    return words if text is not None else ()


def notation_of(thousands: str | None, decimal: str | None) -> "Notation":
    """How numbers are written, by --thousands (or "none") and --decimal. Raises ValueError."""
    from popjax.data.notation import Notation

    notation = Notation(None if thousands == "none" else thousands, "." if decimal is None else decimal)
    notation.check()
    return notation


def is_file(dataset: str) -> bool:
    """True if a dataset is a file, not a built-in one."""
    from popjax.data.built_in import BUILT_IN

    return dataset not in BUILT_IN


def describe_device() -> str:
    """The device, with a warning if it is the CPU of a machine that has a GPU."""
    from popjax.core.machine import device

    name = device()
    if name.startswith("CPU") and Path("/proc/driver/nvidia/version").exists():
        return f"{name}. THIS MACHINE HAS A GPU THAT IS NOT USED: {install("'jax[cuda12]'")}"
    return name
