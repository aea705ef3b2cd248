"""What lets versions change: of other libraries only public names are used, and the version is the same everywhere."""

import ast
import re
import tomllib
from pathlib import Path

import popjax as pj

ROOT = Path(__file__).parent.parent
LIBRARIES = (
    "jax",
    "jaxlib",
    "flax",
    "optax",
    "plotly",
    "rich",
    "sklearn",
    "pyarrow",
    "tyro",
    "narwhals",
    "safetensors",
)
TUPLES = ("_fields", "_asdict", "_replace", "_make")  # a NamedTuple's, which are public
SYSTEM = ("_exit",)  # os._exit, likewise


def sources():
    """Path and tree of each module of popjax."""
    paths = [path for path in (ROOT / "popjax").rglob("*.py") if path.stat().st_size < 500_000]
    return [(path.relative_to(ROOT), ast.parse(path.read_text())) for path in paths]


def private(name):
    return name.startswith("_") and not name.startswith("__")


def names_of(node):
    """The names that a node takes from elsewhere: imported, or attributes, also by `getattr`."""
    if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
        return [*node.module.split("."), *(one.name for one in node.names)]
    if isinstance(node, ast.Import):
        return [part for one in node.names if one.name.split(".")[0] in LIBRARIES for part in one.name.split(".")]
    if isinstance(node, ast.Attribute):
        return [node.attr]
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.split(".")[0] in LIBRARIES:
        return node.value.split(".") if re.fullmatch(r"[\w.]+", node.value) else []
    if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr", "setattr"):
        return [one.value for one in node.args[1:2] if isinstance(one, ast.Constant)]
    return []


def stored_in_self(node):
    return isinstance(node.ctx, ast.Store) and getattr(node.value, "id", "") == "self"


def test_other_libraries_are_used_by_their_public_names():
    """A private attribute is our own if some module of popjax defines it: of what it assigns that of `self` alone."""
    trees = sources()
    nodes = [(path, node) for path, tree in trees for node in ast.walk(tree)]
    own = {node.name for _, node in nodes if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    own |= {node.attr for _, node in nodes if isinstance(node, ast.Attribute) and stored_in_self(node)}
    own |= {node.id for _, node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    taken = {
        (str(path), name)
        for path, node in nodes
        for name in names_of(node)
        if private(name) and name not in own | {*TUPLES, *SYSTEM}
    }
    assert taken == {("popjax/core/private_jax.py", "_src"), ("popjax/core/private_jax.py", "_is_local")}


def test_the_versions_agree():
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    cited = re.search(r"^version: (\S+)$", (ROOT / "CITATION.cff").read_text(), re.MULTILINE)[1]
    guide = (ROOT / "popjax" / "README.md").read_text()
    latest = re.search(r"^\*\*(\d+\.\d+\.\d+)\*\*", guide.split("\n## Changelog\n")[1], re.MULTILINE)[1]
    assert pj.__version__ == version == cited == latest
    assert f"popjax-{version}-py3-none-any.whl" in (ROOT / "README.md").read_text()
