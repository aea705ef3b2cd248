"""The report's HTML: sections, tables and legends. No JAX here."""

from popjax.pages.framing import errors, metrics
from popjax.store.results import Results


def section(title: str, caption: str, body: str) -> str:
    """A section with a heading, a caption and a body; all are HTML."""
    return f'<section>\n<h2>{title}</h2>\n<p class="caption">{caption}</p>\n{body}\n</section>\n'


def table(head: list[str], rows: list[list[str]], kind: str = "", winner: int | None = None) -> str:
    """A table in a box that scrolls; texts are HTML, and row `winner` is marked."""
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    marked = [f"<tr{' class=winner' if at == winner else ''}>{line}</tr>" for at, line in enumerate(lines)]
    titles = "".join(f'<th scope="col">{name}</th>' if name else "<td></td>" for name in head)
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(marked)}</tbody></table></div>"
    )


def legend(entries: list[tuple[str, str, str]]) -> str:
    """A legend of (form, colour, text)."""
    marks = [f'<li><i class="{form}" style="background:{color}"></i>{text}</li>' for form, color, text in entries]
    return f'<ul class="keys">{"".join(marks)}</ul>'


def thinning(drawn: int, count: int, what: str) -> str:
    """A sentence on how many are drawn; empty if all are."""
    if drawn == count:
        return ""
    return f" {drawn:,} of {count:,} {what} drawn: the ten best, and others evenly spaced by rank."


def at_the_end(results: Results) -> str:
    """A sentence on errors of 0, which have no place on a log axis; empty if there are none."""
    none = any(errors(results, name) is not None and (results.values[name] == 1).any() for name in metrics(results))
    return " In decades an error of 0 stands at half of the least other one." if none else ""
