"""CSV columns without a name: left out if they hold no data. No JAX here."""

from collections.abc import Iterable, Sequence


def nameless(header: Sequence[str]) -> list[int]:
    """Positions of the columns without a name."""
    return [place for place, name in enumerate(header) if not name.strip()]


def why_left_out(source: str, places: Sequence[int], rows: Iterable[Sequence[str]]) -> str:
    """Line that says why these columns are left out: empty, or counting the rows from 0 or 1, as pandas writes it.

    Raises ValueError for any other column.

    >>> why_left_out("'x.csv'", [0, 2], [("0", "a", ""), ("1", "b", "")])
    "'x.csv': column 1 has no name and counts the rows, column 3 has no name and is empty; left out"
    """
    empty = set(places)
    counting = {(place, start) for place in places for start in (0, 1)}
    for number, row in enumerate(rows):
        empty = {place for place in empty if not row[place].strip()}
        counting = {(place, start) for place, start in counting if row[place].strip() == str(start + number)}
        for place in sorted(set(places) - empty - {place for place, _ in counting}):
            remedy = "name it in line 1, or write the file without it (pandas: index=False)"
            raise ValueError(f"{source}: column {place + 1} has no name; {remedy}")
    said = [f"column {p + 1} has no name and {'is empty' if p in empty else 'counts the rows'}" for p in places]
    return f"{source}: {', '.join(said)}; left out"
