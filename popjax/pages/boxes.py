"""The ids of a section's HTML, which has to end where it begins. No JAX here."""

from html.parser import HTMLParser

VOID = frozenset(["area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "source", "track", "wbr"])
OPTIONAL = frozenset(("caption", "dd", "dt", "li", "option", "p", "tbody", "td", "tfoot", "th", "thead", "tr"))
END = '<i id="the end"></i>'


class Ids(HTMLParser):
    """The ids of elements, in their order; those in comments and texts are none.

    Attributes:
        ids: of the elements.
        open: the elements that are open, outermost first, without those whose end tag may be left out.
        wrong: an end tag that closes no element, or "".
    """

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.open: list[str] = []
        self.wrong = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.ids += [value for name, value in attrs if name == "id" and value]
        if tag not in VOID | OPTIONAL:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag in self.open[-1:]:
            self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open[-1:]:
            self.open.pop()
        elif tag not in VOID | OPTIONAL:
            self.wrong = self.wrong or tag


def ids_of(html: str) -> list[str]:
    """The ids of all elements; raises ValueError for HTML that would take in what follows it on a page.

    >>> ids_of('<div id="a"><p>one<p>two <!-- <b id="b"> --></div>')
    ['a']
    >>> ids_of("<div><b></div>")
    Traceback (most recent call last):
    ValueError: </div> closes no element; close what is open, and nothing else
    """
    parser = Ids()
    parser.feed(html + END)
    parser.close()
    if parser.ids[-1:] != ["the end"]:
        raise ValueError("a tag, a text in quotes or a comment is not closed; close it")
    if parser.wrong:
        raise ValueError(f"</{parser.wrong}> closes no element; close what is open, and nothing else")
    if parser.open:
        raise ValueError(f"<{parser.open[-1]}> is not closed; close it")
    return parser.ids[:-1]
