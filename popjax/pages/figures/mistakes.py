"""The images of the test rows that the winner gets wrong. No JAX here."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from popjax.pages.axes import Axis
from popjax.pages.drawing import shown
from popjax.pages.figures.figure import Figure
from popjax.pages.markup import section
from popjax.store.results import Results

ENLARGED = 96  # pixels of the page that a picture takes at least
BASE64 = re.compile(r"[A-Za-z0-9+/]+=*")


def section_of(results: Results, axes: Sequence[Axis]) -> str:
    """HTML section of the images in summary.json's `mistakes`; empty without any."""
    known = results.summary.get("mistakes")
    known = known if isinstance(known, dict) else {}
    images = [image for image in known.get("images", ()) if readable(image)]
    if not images:
        return ""
    count = known.get("count", len(images))
    first = "" if count == len(images) else f", the {len(images)} first"
    caption = (
        f"The test images that the winner gets wrong, {count} in all; those it is surest of come first{first}. "
        "Under each, what it is, and what the winner says with which chance."
    )
    body = "".join(map(figure, images))
    return section("What the winner gets wrong", caption, f'<div class="mistakes">{body}</div>')


def readable(image: Any) -> bool:
    """True for an entry as `popjax.supervision.mistakes` writes it."""
    texts = isinstance(image, Mapping) and all(isinstance(image.get(name), str) for name in ("png", "is", "says"))
    return texts and isinstance(image.get("sure"), float | int) and BASE64.fullmatch(image["png"]) is not None


def figure(image: Mapping[str, Any]) -> str:
    """HTML of one image and what is said of it."""
    spoken = f"{shown(image['is'])}: says {shown(image['says'])}, {100 * image['sure']:.0f} %"
    picture = f'<img width="{ENLARGED}" src="data:image/png;base64,{image["png"]}" alt="{spoken}">'
    lines = f"<b>{shown(image['is'])}</b><br>says {shown(image['says'])}, {100 * image['sure']:.0f} %"
    return f"<figure>{picture}<figcaption>{lines}</figcaption></figure>"


FIGURE = Figure(section_of)
