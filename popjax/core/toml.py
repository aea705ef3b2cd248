"""Read TOML files, and write values as TOML. No JAX here."""

import json
import math
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LARGEST = 2**20  # bytes of a file


def read_toml(path: str | Path, what: str) -> dict[str, Any]:
    """The content of a TOML file, of which errors say `what` it is; none larger than a megabyte is read.

    Raises ValueError in one line.
    """
    try:
        size = Path(path).stat().st_size
        if not Path(path).is_file():
            raise ValueError(f"cannot read the {what} {str(path)!r}: it is no file; name a TOML file")
        if size > LARGEST:
            raise ValueError(f"cannot read the {what} {str(path)!r}: {size:,} bytes; at most {LARGEST:,}")
        return tomllib.loads(Path(path).read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise ValueError(f"cannot read the {what} {str(path)!r}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"cannot read the {what} {str(path)!r}: {error}") from None


def toml_value(value: Any) -> str:
    """A value as TOML writes it.

    >>> toml_value({"scale": "uniform(0, 1)", "when": {"depth": [3, 4]}}), toml_value((True, 1e-4))
    ('{"scale" = "uniform(0, 1)", "when" = {"depth" = [3, 4]}}', '[true, 0.0001]')
    """
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(name))} = {toml_value(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(toml_value, value)) + "]"
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    written = json.dumps(value, ensure_ascii=False)
    return "".join(c if c.isprintable() else f"\\U{ord(c):08x}" for c in written)
