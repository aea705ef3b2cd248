"""Every scale spreads its samples as it says, and what is written is what is read."""

import contextlib
import pathlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import popjax as pj
from popjax.space.scales import SCALES, Constant
from popjax.space.space import RESERVED, Space
from popjax.space.spelling import parse_scale
from popjax.store.trial_columns import curves_table

LEARNING_RATE = pj.log_uniform(1e-4, 1)
MOMENTUM = pj.one_minus_log_uniform(0.9, 0.999)
MIXED = Space(a=LEARNING_RATE, b=pj.integers(2, 9), c=pj.choice("x", "y", "z"), d=0.9, e=MOMENTUM)


@contextlib.contextmanager
def refused(named):
    """A ValueError of one line that names what is wrong."""
    with pytest.raises(ValueError) as caught:
        yield
    message = str(caught.value)
    assert message.splitlines() == [message]
    assert named in message


def assert_same_columns(left, right):
    assert list(left) == list(right)
    for name in left:
        np.testing.assert_array_equal(left[name], right[name], err_msg=name)


# How samples spread

WARPED = {
    "uniform": (pj.uniform(-3, 5), lambda v: v),
    "log_uniform": (LEARNING_RATE, np.log10),
    "one_minus_log_uniform": (MOMENTUM, lambda v: -np.log10(1 - v)),
}


@pytest.mark.parametrize("sampler", ["random", "sobol"])
@pytest.mark.parametrize("name", WARPED)
def test_samples_are_uniform_in_the_transformed_variable(name, sampler):
    scale, warp = WARPED[name]
    values = Space(v=scale).sample(20_000, seed=3, sampler=sampler)["v"]
    low, high = warp(np.array([scale.low, scale.high]))
    assert stats.kstest(warp(values), "uniform", args=(low, high - low)).pvalue > 0.01


@pytest.mark.parametrize(
    ("scale", "edges"),
    [
        (LEARNING_RATE, [1e-4, 1e-3, 1e-2, 1e-1, 1]),
        (pj.one_minus_log_uniform(0, 0.9999), [0, 0.9, 0.99, 0.999, 0.9999]),
    ],
)
def test_every_decade_gets_the_same_effort(scale, edges):
    values = Space(v=scale).sample(10_000, seed=1)["v"]
    counts, _ = np.histogram(values, edges)
    assert counts.sum() == 10_000
    assert stats.chisquare(counts).pvalue > 0.01


def test_half_of_all_momenta_lie_above_099():
    assert abs(np.median(Space(v=MOMENTUM).sample(20_000, seed=2)["v"]) - 0.99) < 5e-4


DISCRETE = {
    "integers": (pj.integers(-2, 4), dict.fromkeys(range(-2, 5), 1.0)),
    "one integer": (pj.integers(3, 3), {3: 1.0}),
    "log_integers": (pj.log_integers(1, 20), {v: np.log((v + 1) / v) for v in range(1, 21)}),
    "log_integers from 16": (pj.log_integers(16, 19), {v: np.log((v + 1) / v) for v in range(16, 20)}),
    "choice": (pj.choice("relu", 2, 0.5), {"relu": 1.0, 2: 1.0, 0.5: 1.0}),
}


@pytest.mark.parametrize("name", DISCRETE)
def test_every_value_has_its_share_of_the_unit_interval(name):
    scale, weights = DISCRETE[name]
    n = 100_000
    values = scale.from_unit((np.arange(n) + 0.5) / n).tolist()
    assert set(values) == set(weights)
    for value, weight in weights.items():
        assert values.count(value) == pytest.approx(n * weight / sum(weights.values()), abs=1)


@pytest.mark.parametrize("name", DISCRETE)
def test_sampled_values_occur_as_often_as_their_share(name):
    scale, weights = DISCRETE[name]
    n = 10_000
    values = Space(v=scale).sample(n, seed=4)["v"].tolist()
    assert set(values) == set(weights)  # both ends, nothing beyond
    counts = [values.count(value) for value in weights]
    expected = n * np.array(list(weights.values())) / sum(weights.values())
    assert np.all(np.abs(counts - expected) <= 4 * np.sqrt(expected))


@pytest.mark.parametrize(
    "scale", [pj.uniform(-3, 5), LEARNING_RATE, MOMENTUM, pj.integers(2, 4), pj.log_integers(1, 127)], ids=str
)
def test_the_unit_interval_runs_from_low_to_high(scale):
    np.testing.assert_allclose(scale.from_unit([0.0, 1.0]), [scale.low, scale.high], rtol=1e-12)
    assert np.all(np.diff(scale.from_unit(np.linspace(0, 1, 1001))) >= 0)


@pytest.mark.parametrize("u", [-0.1, 1.1, float("nan")])
def test_a_coordinate_outside_the_unit_interval_is_refused(u):
    with refused("uniform(0, 1)"):
        pj.uniform(0, 1).from_unit(u)


@pytest.mark.parametrize(
    ("scale", "dtype"),
    [
        (pj.uniform(0, 1), "float64"),
        (pj.uniform(1, 1), "float64"),
        (LEARNING_RATE, "float64"),
        (MOMENTUM, "float64"),
        (pj.integers(0, 5), "int64"),
        (pj.integers(0.0, 5.0), "int64"),
        (pj.log_integers(1, 5), "int64"),
        (pj.choice(1, 2), "object"),
        (pj.choice("a", 0.5), "object"),
        (0.9, "float64"),
        (np.float32(0.5), "float64"),
        (3, "int64"),
        (np.int32(3), "int64"),
        ("relu", "object"),
        (True, "object"),
    ],
    ids=repr,
)
def test_columns_are_float64_int64_or_objects(scale, dtype):
    assert Space(v=scale).sample(4)["v"].dtype == dtype


def test_a_choice_keeps_its_values_types():
    assert set(map(type, Space(v=pj.choice(1, 0.5, "a", False)).sample(50)["v"])) == {int, float, str, bool}


# Points of a space


@pytest.mark.parametrize("sampler", ["random", "sobol"])
@given(n=st.integers(1, 70), k=st.integers(1, 70), seed=st.integers(0, 2**32))
def test_the_first_k_of_n_points_are_the_k_points(sampler, n, k, seed):
    n, k = max(n, k), min(n, k)
    first = {name: column[:k] for name, column in MIXED.sample(n, seed, sampler).items()}
    assert_same_columns(first, MIXED.sample(k, seed, sampler))


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_another_seed_gives_other_points(sampler):
    left, right = (MIXED.sample(64, seed, sampler) for seed in (0, 1))
    assert not np.intersect1d(left["a"], right["a"]).size
    assert not np.array_equal(left["b"], right["b"])


@given(seed=st.integers(0, 2**32))
def test_a_hyperparameter_added_at_the_end_leaves_the_other_random_columns(seed):
    wider = MIXED.replace(last=pj.uniform(0, 1)).sample(20, seed)
    del wider["last"]
    assert_same_columns(wider, MIXED.sample(20, seed))


@pytest.mark.parametrize("sampler", ["random", "sobol", "grid"])
def test_a_constant_is_a_column_and_takes_no_dimension(sampler):
    a, b = LEARNING_RATE, pj.integers(2, 9)
    points = Space(a=a, beta=0.9, b=b).sample(37, 5, sampler)
    assert list(points) == ["a", "beta", "b"]
    assert points.pop("beta").tolist() == [0.9] * len(points["a"])
    assert_same_columns(points, Space(a=a, b=b).sample(37, 5, sampler))


@pytest.mark.parametrize(("sampler", "rows"), [("random", 3), ("sobol", 3), ("grid", 1)])
def test_a_space_of_constants_has_points(sampler, rows):
    points = Space(a=1, b="x").sample(3, sampler=sampler)
    assert {name: column.tolist() for name, column in points.items()} == {"a": [1] * rows, "b": ["x"] * rows}


def test_a_grid_takes_every_integer_and_the_middles_of_a_log_axis():
    points = Space(units=pj.integers(2, 4), rate=LEARNING_RATE).sample(12, sampler="grid")
    rates = 10.0 ** np.array([-3.5, -2.5, -1.5, -0.5])
    pairs = sorted(zip(points["units"].tolist(), points["rate"].tolist(), strict=True))
    np.testing.assert_allclose(pairs, [(units, rate) for units in (2, 3, 4) for rate in rates], rtol=1e-12)


def test_only_and_replace_keep_the_order():
    assert list(MIXED.only(["e", "a", "nothing"])) == ["a", "e"]
    replaced = MIXED.replace(a=0.1, new=1)
    assert list(replaced) == [*MIXED, "new"]
    assert replaced["a"] == Constant(0.1)
    assert replaced.searched == ("b", "c", "e")
    assert MIXED["a"] == LEARNING_RATE


# The way back to the unit interval

UNITS = st.floats(0, 1)
EXPONENTS = st.tuples(st.floats(-8, 4), st.floats(0.1, 8))
CONTINUOUS = st.one_of(
    st.tuples(st.floats(-1e3, 1e3), st.floats(1e-3, 1e3)).map(lambda p: pj.uniform(p[0], p[0] + p[1])),
    EXPONENTS.map(lambda p: pj.log_uniform(10 ** p[0], 10 ** (p[0] + p[1]))),
    st.tuples(st.floats(-1, 4), st.floats(0.1, 2)).map(
        lambda p: pj.one_minus_log_uniform(1 - 10 ** -p[0], 1 - 10 ** -(p[0] + p[1]))
    ),
)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))  # NumPy strips a final NUL
NUMBERS = st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)


@given(CONTINUOUS, UNITS)
def test_to_unit_inverts_from_unit(scale, u):
    assert scale.to_unit(scale.from_unit(u)) == pytest.approx(u, abs=1e-8)


@given(st.sampled_from([pj.integers, pj.log_integers]), st.integers(1, 10**6), st.integers(0, 10**6), st.data())
def test_from_unit_inverts_to_unit_on_integers(kind, low, more, data):
    value = data.draw(st.integers(low, low + more))
    back = kind(low, low + more).from_unit(kind(low, low + more).to_unit(value))
    assert (back, type(back)) == (value, int)


@given(
    st.lists(
        NUMBERS | TEXTS | st.booleans(), min_size=1, max_size=9, unique_by=(str, lambda v: (isinstance(v, str), v))
    )
)
def test_from_unit_inverts_to_unit_on_choices(values):
    scale = pj.choice(*values)
    back = [scale.from_unit(scale.to_unit(value)) for value in values]
    assert list(map(repr, back)) == list(map(repr, values))


@pytest.mark.parametrize(
    "scale", [pj.integers(2, 9), pj.log_integers(1, 9), LEARNING_RATE, pj.choice("x", "y")], ids=str
)
def test_an_array_maps_like_its_elements(scale):
    units = np.array([[0.1, 0.5], [0.7, 0.9]])
    values = scale.from_unit(units)
    assert values.tolist() == [[scale.from_unit(u) for u in row] for row in units.tolist()]
    assert scale.to_unit(values).tolist() == [[scale.to_unit(v) for v in row] for row in values.tolist()]


@pytest.mark.parametrize("scale", [pj.uniform(2, 2), pj.log_uniform(2, 2), pj.integers(2, 2), Constant(2)], ids=str)
def test_a_single_value_sits_in_the_middle(scale):
    assert scale.to_unit(2) == 0.5
    assert scale.from_unit(0.5) == 2


@pytest.mark.parametrize(
    ("scale", "values", "units"),
    [
        (pj.integers(2, 4), [2, 3, 4], [1 / 6, 3 / 6, 5 / 6]),
        (pj.log_integers(1, 3), [1, 2, 3], np.log([1 * 2, 2 * 3, 3 * 4]) / 2 / np.log(4)),
        (pj.choice("a", "b"), ["a", "b"], [0.25, 0.75]),
    ],
    ids=["integers", "log_integers", "choice"],
)
def test_to_unit_of_a_discrete_value_is_the_middle_of_its_cell(scale, values, units):
    np.testing.assert_allclose(scale.to_unit(values), units, rtol=1e-12)


def test_to_unit_of_a_value_that_is_no_choice_is_refused():
    with refused("'gelu'"):
        pj.choice("relu", "tanh").to_unit("gelu")


# Writing and reading


def same_space(left, right):
    """Equal, in the same order, and of the same types (1 == True in Python)."""
    return list(left.items()) == list(right.items()) and repr(left) == repr(right)


def toml(entry):
    """A text, a number or a truth value as TOML spells it."""
    if not isinstance(entry, str):
        return repr(entry).lower()
    return '"' + "".join(c if c.isprintable() and c not in '"\\' else f"\\U{ord(c):08X}" for c in entry) + '"'


def through_toml(space, folder):
    lines = [f"{toml(name)} = {toml(entry)}\n" for name, entry in space.to_dict().items()]
    (folder / "space.toml").write_text("".join(lines), encoding="utf-8")
    return Space.from_toml(folder / "space.toml")


@pytest.mark.parametrize(
    "scale",
    [
        pj.uniform(0, 0.5),
        pj.uniform(-1, 1, static=True),
        LEARNING_RATE,
        MOMENTUM,
        pj.integers(50, 100),
        pj.log_integers(1, 127, static=True),
        pj.choice(16, 32.5, True, "a"),
        pj.choice("it's", 'say "hi"', "a\\b", "a\nb", "\t", "日本 é", "", "uniform(0, 1)", static=True),
    ],
    ids=str,
)
def test_a_scale_survives_toml(scale, tmp_path):
    space = Space(v=scale)
    assert same_space(through_toml(space, tmp_path), space)


@pytest.mark.parametrize("value", [1, -3, 0.1, 1e-5, 1e22, -0.0, True, False], ids=repr)
def test_a_constant_number_survives_toml(value, tmp_path):
    space = Space(v=value)
    assert same_space(through_toml(space, tmp_path), space)


@pytest.mark.parametrize(
    "value",
    [
        "relu",
        "日本",
        "two words",
        "it's",
        'say "hi"',
        "a\\b\nc",
        " a ",
        "",
        "0.5",
        "True",
        "None",
        "uniform(0, 1)",
        "#",
    ],
    ids=repr,
)
def test_a_constant_text_survives_toml_and_dict(value, tmp_path):
    space = Space(v=value)
    assert same_space(Space.from_dict(space.to_dict()), space)
    assert same_space(through_toml(space, tmp_path), space)


@pytest.mark.parametrize(
    ("numpy_scale", "scale"),
    [
        (pj.uniform(np.float64(0.1), np.float64(0.5)), pj.uniform(0.1, 0.5)),
        (pj.log_uniform(np.float32(0.5), 1), pj.log_uniform(0.5, 1)),
        (pj.integers(np.int64(2), np.int64(4)), pj.integers(2, 4)),
        (pj.choice(np.float64(0.1), np.int64(2)), pj.choice(0.1, 2)),
        (np.float64(0.1), Constant(0.1)),
        (np.int64(3), Constant(3)),
    ],
    ids=repr,
)
def test_numpy_numbers_survive_toml_as_numbers(numpy_scale, scale, tmp_path):
    assert same_space(through_toml(Space(v=numpy_scale), tmp_path), Space(v=scale))


def test_names_and_their_order_survive_toml(tmp_path):
    space = Space(z=1, learning_rate=LEARNING_RATE, é=0.5, a=MOMENTUM)
    assert same_space(through_toml(space, tmp_path), space)


def test_a_list_in_toml_is_a_choice(tmp_path):
    (tmp_path / "space.toml").write_text("batch_size = [16, 32]\nactivation = ['relu', 'tanh']\n")
    space = Space(batch_size=pj.choice(16, 32), activation=pj.choice("relu", "tanh"))
    assert same_space(Space.from_toml(tmp_path / "space.toml"), space)


@pytest.mark.parametrize(
    ("content", "named"),
    [
        (b"a = 1\na = 2\n", "line 2"),
        (b"a = {b = 1}\n", "a: {'b': 1}"),
        (b"a = 1979-05-27\n", "a: datetime.date(1979, 5, 27)"),
        (b"a = nan\n", "a: nan"),
        (b"a = []\n", "a: choice()"),
        (b"a = 'uniform(2, 1)'\n", "a: uniform(2, 1)"),
        (b"a = '''x\ny'''\n", r"a: cannot read 'x\ny'"),
        (b"fold = 1\n", "'fold'"),
        (b'"a\\nb" = 1\n', r"'a\nb'"),
        (b"a = " + b"[" * 5000, "space.toml"),
        (b"a = '\xff'\n", "space.toml"),
    ],
    ids=lambda p: repr(p)[:40],
)
def test_a_bad_space_file_is_refused_by_name(content, named, tmp_path):
    path = tmp_path / "space.toml"
    path.write_bytes(content)
    with refused(named):
        Space.from_toml(path)
    with refused("space.toml"):
        Space.from_toml(path)


@pytest.mark.parametrize("name", ["", "absent.toml"])
def test_an_unreadable_space_file_is_refused_by_name(name, tmp_path):
    with refused(repr(str(tmp_path / name))):
        Space.from_toml(tmp_path / name)


FORMS = {
    "uniform(0, 0.5)": pj.uniform(0, 0.5),
    "  uniform( 0,0.5 )\n": pj.uniform(0, 0.5),
    "uniform(-1, +2e-1)": pj.uniform(-1, 0.2),
    "uniform(low=0, high=1)": pj.uniform(0, 1),
    "log_uniform(1e-4,1)": LEARNING_RATE,
    "one_minus_log_uniform(0.9, 0.999)": MOMENTUM,
    "integers(50, 100, static=True)": pj.integers(50, 100, static=True),
    "integers(50, 100, static=False)": pj.integers(50, 100),
    "log_integers(1, 127)": pj.log_integers(1, 127),
    "choice(16, 32.5, True)": pj.choice(16, 32.5, True),
    "choice(relu, 'two words', \"it's\")": pj.choice("relu", "two words", "it's"),
    "choice('a', static=True)": pj.choice("a", static=True),
    "0.9": Constant(0.9),
    "-1e-3": Constant(-0.001),
    "12": Constant(12),
    "True": Constant(True),
    "relu": Constant("relu"),
    "'two words'": Constant("two words"),
}


@pytest.mark.parametrize("text", FORMS)
def test_every_form_is_read(text):
    scale = parse_scale(text)
    assert scale == FORMS[text]
    assert str(scale) == str(FORMS[text])


@given(CONTINUOUS | st.sampled_from([scale for scale, _ in DISCRETE.values()]))
def test_what_a_scale_prints_is_read_back(scale):
    assert parse_scale(str(scale)) == scale


CALL = "open('evaluated', 'w')"
CODE = [
    CALL,
    "__import__('os').system('touch evaluated')",
    f"[{CALL} for _ in (1,)]",
    f"(lambda: {CALL})()",
    f"lambda: {CALL}",
    f"f'{{{CALL.replace(chr(39), chr(34))}}}'",
    f"(x := {CALL})",
    f"{CALL} if 1 else 0",
    f"1 + {CALL}",
    f"{{1: {CALL}}}",
    f"choice({CALL}, 1)",
    f"choice(*{CALL})",
    "uniform(*[0, 1])",
    "uniform(**{'low': 0, 'high': 1})",
    f"uniform(0, 1, static={CALL})",
    f"uniform(0, [{CALL} for _ in (1,)])",
    "choice(f'{1}')",
    "choice(-x)",
    "uniform(0, 1 + 1)",
    "uniform(0, 1)(2)",
    "uniform.low",
    "uniform(0, 1).low",
    "space.uniform(0, 1)",
    "x[0]",
    "x; y",
    "import os",
]


@pytest.mark.parametrize("text", CODE)
def test_code_is_refused_and_never_evaluated(text, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with refused(repr(text)):
        parse_scale(text)
    assert not pathlib.Path("evaluated").exists()


@pytest.mark.parametrize(
    "text",
    [
        "(" * 100_000,
        "-" * 100_000 + "1",
        "[" * 90 + "]" * 90,
        "+".join("1" * 20_000),
        "a" + ".a" * 20_000,
        f"uniform(0, {'(' * 100_000}",
        f"uniform(0, {'-' * 3_000}1)",
        f"choice({'+'.join('1' * 5_000)})",
        "9" * 5_000,
        f"uniform(0, {'9' * 400})",
        "9" * 400,
    ],
    ids=lambda text: f"{text[:12]}...{len(text)}",
)
def test_huge_nesting_and_huge_numbers_are_refused(text):
    with refused(text[:5]):
        parse_scale(text)


PIECES = st.lists(
    st.sampled_from([*SCALES, *"()[]{},.=*-+'\"\\: \n\0", "static", "1", "1e999", "nan", "é", "x", "True"])
)


@given(st.text() | PIECES.map("".join) | PIECES.map(lambda p: f"choice({''.join(p)})"))
def test_any_text_is_read_or_refused_in_one_line(text):
    scale, message = None, ""
    try:
        scale = parse_scale(text)
    except ValueError as error:
        message = str(error)
    if scale is None:
        assert message.splitlines() == [message]
    else:
        assert parse_scale(str(scale)) == scale


# What is refused

BAD_SCALES = [
    ("uniform(2, 1)", "write uniform(1, 2)"),
    ("log_integers(5, 3)", "write log_integers(3, 5)"),
    ("uniform(nan, 1)", "'nan'"),
    ("uniform(0, 1e999)", "inf"),
    ("uniform(-1e999, 0)", "-inf"),
    ("uniform(0, True)", "True"),
    ("uniform(0, '1')", "'1'"),
    ("uniform(0, 1j)", "1j"),
    ("log_uniform(0, 1)", "cannot reach 0;"),
    ("log_uniform(-1, 1)", "cannot reach -1;"),
    ("log_integers(0, 10)", "cannot reach 0;"),
    ("one_minus_log_uniform(0.9, 1)", "cannot reach 1;"),
    ("one_minus_log_uniform(0.9, 1.5)", "cannot reach 1.5;"),
    ("integers(0, 2.5)", "2.5"),
    ("log_integers(1.5, 2)", "1.5"),
    ("choice()", "choice()"),
    ("choice(1, 2, 1)", "choice(1, 2, 1)"),
    ("choice('a', 'a')", "choice('a', 'a')"),
    ("choice(1, 1.0)", "choice(1, 1.0)"),
    ("choice(1, True)", "choice(1, True)"),
    ("choice(None)", "None"),
    ("choice([1])", "[1]"),
    ("choice(1, 1e999)", "inf"),
    ("uniform(0)", "uniform(0)"),
    ("uniform(0, 1, 2)", "uniform(0, 1, 2)"),
    ("uniform(0, 1, step=2)", "step"),
    ("uniform(0, 1, static='no')", "'no'"),
    ("normal(0, 1)", "normal(0, 1)"),
    ("None", "None"),
    ("1e999", "1e999"),
    ("two words", "two words"),
    ("", "''"),
]


@pytest.mark.parametrize(("text", "named"), BAD_SCALES)
def test_a_bad_scale_is_refused_by_name(text, named):
    with refused(named):
        parse_scale(text)
    with refused("rate: "):
        Space.from_dict({"rate": text})


@pytest.mark.parametrize(
    "end", [float("nan"), float("inf"), -float("inf"), None, True, "1", np.float64("nan")], ids=repr
)
@pytest.mark.parametrize("scale", [pj.uniform, pj.log_uniform, pj.one_minus_log_uniform, pj.integers, pj.log_integers])
def test_an_end_that_is_no_finite_number_is_refused(scale, end):
    with refused(repr(end)):
        scale(0.5, end)
    with refused(repr(end)):
        scale(end, 0.5)


@pytest.mark.parametrize("make", [pj.choice, lambda v: Space(x=v), lambda v: pj.integers(0, v)])
@pytest.mark.parametrize("value", [2**63, 10**400], ids=["2**63", "10**400"])
def test_an_integer_beyond_64_bits_is_refused(make, value):
    with refused(str(value)[:19]):
        make(value)


@pytest.mark.parametrize("value", [None, [1], {}, float("nan"), float("inf"), b"x"], ids=repr)
def test_a_constant_is_a_finite_number_text_or_truth_value(value):
    with refused(f"rate: {value!r}"):
        Space(rate=value)


@pytest.mark.parametrize("name", [*RESERVED, "a-b", "1a", "a b", "", "a.b", "a\nb", "ﬁ", "ｘ"])
def test_a_name_that_is_reserved_or_no_identifier_is_refused(name):
    with refused(repr(name)):
        Space(**{name: pj.uniform(0, 1)})


def test_the_names_of_the_tables_columns_are_reserved():
    """Else a hyperparameter of that name would be overwritten, and read back wrong."""
    task = pj.Task(lambda key, hparams, data: 1.0, lambda x, hparams, data: (x, {"loss": hparams["rate"]}), ())
    results = pj.search(task, {"rate": pj.uniform(0, 1)}, trials=2, epochs=2, rank=pj.best("loss", at="best"))
    columns = {*results.trials.column_names, *curves_table(results.members).column_names}
    assert {"trial", "fold", "best_epoch", "rank"} <= columns - {"rate", "loss"} <= set(RESERVED)


@pytest.mark.parametrize("trials", [0, -1, 1.5, "3", None, True], ids=repr)
@pytest.mark.parametrize("sampler", ["random", "sobol", "grid"])
def test_a_number_of_trials_that_is_no_positive_integer_is_refused(trials, sampler):
    with refused(repr(trials)):
        MIXED.sample(trials, sampler=sampler)


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_a_negative_seed_is_refused_by_name(sampler):
    with refused("-1"):
        MIXED.sample(3, seed=-1, sampler=sampler)


def test_an_unknown_sampler_is_refused_by_name():
    with refused("'halton'"):
        MIXED.sample(3, sampler="halton")


def test_a_parent_may_have_any_name():
    assert str(pj.uniform(0, 1).when(self=3)) == "uniform(0, 1) when self=3"
    assert str(pj.uniform(0, 1).near(0.5).when(self=3)).endswith(" when self=3")


@pytest.mark.parametrize("values", [(1, "1"), (True, "True"), (0.5, "0.5")], ids=str)
def test_values_that_a_table_writes_alike_are_refused(values):
    """They would be one value when a run is loaded."""
    with pytest.raises(ValueError, match="two values are written alike in tables; name one of them otherwise"):
        pj.choice(*values)


def test_a_number_between_the_choices_has_the_place_of_the_nearest():
    """A person or a scheduler may set one; pages and samplers take it."""
    scale = pj.choice(0.001, 0.01, 0.1)
    assert scale.to_unit(0.03) == scale.to_unit(0.01)
    assert scale.scaled(0.03, 1.2) == 0.1
    with pytest.raises(ValueError, match="'fast' is not in choice"):
        scale.to_unit("fast")
    with pytest.raises(ValueError, match=r"0\.03 is not in choice"):
        pj.choice(0.001, "fast").to_unit(0.03)
