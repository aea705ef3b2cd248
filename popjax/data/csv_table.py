"""Read CSV files as typed columns; numbers are not kept as text. No JAX here."""

import io
import itertools
from collections.abc import Sequence

import numpy as np

from popjax.data.cells import Tally, Texts, flags_for
from popjax.data.columns import MAX_TEXTS, Column, check_names, check_target, text_column
from popjax.data.csv_file import File
from popjax.data.faults import Faults
from popjax.data.nameless import nameless, why_left_out
from popjax.data.notation import Points
from popjax.data.table import PLAINLY, Reading, Table


def read_csv(
    source: str, content: bytes, target: str | None, how: Reading = PLAINLY, delimiters: str = ",;\t"
) -> Table:
    """Table of a CSV file with a header; the target's values (rows,) are None where missing.

    Raises ValueError for a file that cannot be read; other errors are the table's `faults`.
    """
    file = File(source, lambda: io.BytesIO(content), how.na, delimiters, lenient=True)
    check_names(source, file.names)
    target = check_target(source, file.names, target)
    kept = how.kept(source, file.names, target)
    places = nameless(file.header)
    labels, groups = Texts(), Texts()
    tallies = {name: Tally(how, name) for name in kept if name not in (target, how.groups)}
    points, plain = Points(), how.notation.is_plain
    for cells in file.chunks():
        for name in (target, *tallies) if plain and file.delimiter == ";" else ():
            points.add(name, cells[name])
        labels.add(cells.pop(target))
        if how.groups in kept:
            groups.add(cells[how.groups])
        for name, tally in tallies.items():
            tally.add(cells[name])
    faults = Faults([file.uneven_rows()] if file.uneven else [])
    rest = itertools.islice(file.rows(), 1, None)
    why = faults.of(why_left_out, source, places, rest) if places and not faults else None
    if not labels.codes:
        Faults(faults or [f"{source} has a header but no rows; add data"]).refuse()
    grouped = bool(points.thousands(file.names))
    flags = flags_for(list(tallies.values()), labels.known, file.delimiter, grouped) if plain else ""
    kinds = {name: faults.of(tally.kind, source, flags) for name, tally in tallies.items()}
    texts = read_texts(file, [name for name, kind in kinds.items() if kind == "text"], faults)
    numbers = {name: tallies[name].column() for name, kind in kinds.items() if kind in ("number", "date")}
    columns = {name: column for name in tallies if (column := texts.get(name) or numbers.get(name))}
    if groups.codes:
        columns[str(how.groups)] = text_column(np.concatenate(groups.codes), list(groups.known))
    y = faults.of(labels.target, source, target, how.notation, flags)
    y = np.zeros(sum(map(len, labels.codes))) if y is None else y
    doubt = points.doubt([*numbers, *([target] if y.dtype.kind in "if" else [])])
    return Table(columns, None, y, source, target, tuple(filter(None, (why, doubt))), faults=tuple(faults))


def read_texts(file: File, names: Sequence[str], faults: Faults) -> dict[str, Column]:
    """Text columns by name, in a second pass, without those of too many distinct values, which become faults."""
    texts = {name: Texts() for name in names}
    for cells in file.chunks() if names else ():
        for name in names:
            if texts[name].count <= MAX_TEXTS:  # of one with more no further text is kept
                texts[name].add(cells[name])
    columns = {name: faults.of(each.column, file.source, name) for name, each in texts.items()}
    return {name: column for name, column in columns.items() if column is not None}
