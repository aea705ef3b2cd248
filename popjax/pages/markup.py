"""The report's HTML: sections, tables and legends. No JAX here."""

from popjax.pages.framing import errors, metrics
from popjax.store.results import Results


def section(title: str, caption: str, body: str) -> str:
    """A heading, one sentence that tells how to read what follows, and what follows."""
    return f'<section>\n<h2>{title}</h2>\n<p class="caption">{caption}</p>\n{body}\n</section>\n'


def table(head: list[str], rows: list[list[str]], kind: str = "", winner: int | None = None) -> str:
    """A table in a box of its own that scrolls; texts are HTML."""
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    marked = [f"<tr{' class=winner' if at == winner else ''}>{line}</tr>" for at, line in enumerate(lines)]
    titles = "".join(f"<th>{name}</th>" for name in head)
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{''.join(marked)}</tbody></table></div>"
    )


def legend(entries: list[tuple[str, str, str]]) -> str:
    """A legend of (form, colour, text)."""
    marks = [f'<li><i class="{form}" style="background:{color}"></i>{text}</li>' for form, color, text in entries]
    return f'<ul class="keys">{"".join(marks)}</ul>'


def thinning(drawn: int, count: int, what: str) -> str:
    """What is said where not all are drawn."""
    if drawn == count:
        return ""
    return f" {drawn:,} of {count:,} {what} drawn: the ten best, and others evenly spaced by rank."


def at_the_end(results: Results) -> str:
    """What is said of an error of 0, which has no place in decades."""
    none = any(errors(results, name) is not None and (results.values[name] == 1).any() for name in metrics(results))
    return " In decades an error of 0 stands at half of the least other one." if none else ""
