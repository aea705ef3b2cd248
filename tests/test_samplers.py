"""Designs on the unit cube keep the laws they are chosen for."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import qmc

from popjax.space.samplers import draw

FREE = math.inf
LEVELS = st.lists(st.integers(1, 7) | st.just(FREE), min_size=1, max_size=4)


def per_axis(points):
    """The distinct coordinates on every axis."""
    return [np.unique(column) for column in points.T]


@pytest.mark.parametrize("sampler", ["random", "sobol", "grid"])
@given(n=st.integers(1, 130), axes=st.integers(1, 6), seed=st.integers(0, 2**32))
def test_points_lie_in_the_half_open_unit_cube(sampler, n, axes, seed):
    points = draw(sampler, n, [FREE] * axes, seed)
    assert points.shape[1] == axes
    assert np.all((points >= 0) & (points < 1))


@pytest.mark.parametrize("sampler", ["random", "sobol"])
@pytest.mark.parametrize("n", [1, 2, 3, 63, 64, 65, 100])
def test_exactly_n_distinct_points_are_drawn_without_a_warning(sampler, n):
    points = draw(sampler, n, [FREE] * 3, 0)
    assert len(np.unique(points, axis=0)) == len(points) == n


@pytest.mark.parametrize("sampler", ["random", "sobol"])
def test_the_seed_decides(sampler):
    first, again, other = (draw(sampler, 32, [FREE] * 2, seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert not np.isin(first, other).any()


def test_no_two_random_axes_share_a_stream_within_or_across_seeds():
    columns = np.hstack([draw("random", 1000, [FREE] * 5, seed) for seed in range(5)])
    correlation = np.corrcoef(columns.T) - np.eye(25)
    assert np.abs(correlation).max() < 0.2


@pytest.mark.parametrize("axes", [2, 3, 6])
@pytest.mark.parametrize("n", [64, 100])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_sobol_points_are_spread_better_than_random_ones(axes, n, seed):
    sobol, random = (qmc.discrepancy(draw(name, n, [FREE] * axes, seed)) for name in ("sobol", "random"))
    assert sobol < random / 2


@pytest.mark.parametrize("seed", range(3))
def test_every_power_of_two_sobol_points_fill_every_cell_once(seed):
    points = draw("sobol", 100, [FREE] * 4, seed)
    for column in points[:64].T:
        assert sorted(np.floor(column * 64)) == list(range(64))


@given(n=st.integers(1, 300), levels=LEVELS)
def test_a_grid_is_the_full_product_of_its_axes_at_the_middles_of_cells(n, levels):
    points = draw("grid", n, levels, 0)
    axes = per_axis(points)
    assert len(points) == len(np.unique(points, axis=0)) == math.prod(map(len, axes)) <= n
    for values, most in zip(axes, levels, strict=True):
        assert len(values) <= most
        np.testing.assert_allclose(values, (np.arange(len(values)) + 0.5) / len(values), rtol=1e-12)


@given(n=st.integers(1, 300), levels=LEVELS)
def test_a_grid_is_as_even_and_as_large_as_n_and_the_levels_allow(n, levels):
    counts = list(map(len, per_axis(draw("grid", n, levels, 0))))
    growing = [count for count, most in zip(counts, levels, strict=True) if count < most]
    if growing:
        fewest = min(growing)
        assert max(counts) - fewest <= 1
        assert math.prod(counts) // fewest * (fewest + 1) > n


@pytest.mark.parametrize(
    ("n", "levels", "counts"),
    [
        (9, [FREE, FREE], [3, 3]),
        (8, [FREE, FREE], [3, 2]),
        (12, [3, FREE], [3, 4]),
        (100, [2, FREE, FREE], [2, 7, 7]),
        (100, [2, 3], [2, 3]),
        (1, [FREE, FREE, FREE], [1, 1, 1]),
        (512, [FREE, FREE, FREE], [8, 8, 8]),
    ],
)
def test_the_counts_of_a_grid(n, levels, counts):
    assert list(map(len, per_axis(draw("grid", n, levels, 0)))) == counts


@pytest.mark.parametrize(("sampler", "rows"), [("random", 5), ("sobol", 5), ("grid", 1)])
def test_a_cube_without_axes_has_points_without_coordinates(sampler, rows):
    assert draw(sampler, 5, [], 0).shape == (rows, 0)


def test_more_axes_than_sobol_has_are_refused():
    with pytest.raises(ValueError, match=r"^sobol: 21202 hyperparameters .*$"):
        draw("sobol", 4, [FREE] * (qmc.Sobol.MAXDIM + 1), 0)


def test_an_unknown_sampler_is_refused_by_name():
    with pytest.raises(ValueError, match=r"^unknown sampler 'halton'; the samplers are random, sobol, grid$"):
        draw("halton", 4, [FREE], 0)
