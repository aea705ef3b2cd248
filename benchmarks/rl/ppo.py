"""PPO (Schulman et al. 2017, arXiv 1707.06347) of one agent on a gymnax environment, as pure functions.

Nothing here knows of popjax: `hparams` is any mapping with `learning_rate`, `gamma` and `entropy`.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

import gymnax
import jax
import jax.numpy as jnp
import optax

ENVS, STEPS, UPDATES = 16, 64, 10  # environments; steps of each before an update; updates of an epoch
PASSES, PARTS = 4, 4  # over the steps of an update, and the parts of each
SMOOTH, CLIP, VALUE, NORM = 0.95, 0.2, 0.5, 0.5
FRESH = 32  # episodes that measure an agent
WIDTH = 64


class Moment(NamedTuple):
    """What an agent saw and did, and what came of it: arrays (steps, environments, ...)."""

    seen: jax.Array
    action: jax.Array
    chance: jax.Array
    value: jax.Array
    reward: jax.Array
    over: jax.Array


def chosen(odds: jax.Array, action: jax.Array) -> jax.Array:
    """The log-odds (rows,) of the chosen actions, by a product: a gather's derivative is a scatter."""
    return (odds * jax.nn.one_hot(action, odds.shape[1])).sum(1)


class PPO:
    """An agent's initial state, an epoch of its training, and the mean return of fresh episodes.

    Args:
        name: of a gymnax environment with discrete actions.
        longest: steps after which a fresh episode ends.
    """

    def __init__(self, name: str, longest: int) -> None:
        self.env, self.settings = gymnax.make(name)
        self.longest = longest
        self.actions = self.env.action_space(self.settings).n

    def init(self, key: jax.Array) -> dict[str, Any]:
        """Weights, moments of Adam, environments, and a random key."""
        weights_key, begin, key = jax.random.split(key, 3)
        seen, world = self.reset(begin, ENVS)
        sizes = [seen.reshape(ENVS, -1).shape[1], WIDTH, WIDTH]
        keys = jax.random.split(weights_key, 6)
        orthogonal = lambda at, scale, shape: jax.nn.initializers.orthogonal(scale)(keys[at], shape)
        layers = lambda at, out, scale: [
            (orthogonal(at, 2**0.5, tuple(sizes[:2])), jnp.zeros(WIDTH)),
            (orthogonal(at + 1, 2**0.5, tuple(sizes[1:])), jnp.zeros(WIDTH)),
            (orthogonal(at + 2, scale, (WIDTH, out)), jnp.zeros(out)),
        ]
        weights = {"actor": layers(0, self.actions, 0.01), "critic": layers(3, 1, 1.0)}
        return {"weights": weights, "moments": self.rule(0.0).init(weights), "seen": seen, "world": world, "key": key}

    def rule(self, rate: Any) -> optax.GradientTransformation:
        """Adam on clipped gradients."""
        return optax.chain(optax.clip_by_global_norm(NORM), optax.adam(rate, eps=1e-5))

    def reset(self, key: jax.Array, count: int) -> Any:
        """Fresh environments: what is seen, and their states."""
        return jax.vmap(self.env.reset, (0, None))(jax.random.split(key, count), self.settings)

    def step(self, key: jax.Array, world: Any, action: jax.Array) -> Any:
        """What is seen, states, rewards and ends after an action in each environment; those that ended begin anew."""
        keys = jax.random.split(key, len(action))
        seen, world, reward, ended, cut, _ = jax.vmap(self.env.step, (0, 0, 0, None))(
            keys, world, action, self.settings
        )
        return seen, world, reward.astype(float), ended | cut

    def net(self, layers: Any, seen: jax.Array) -> jax.Array:
        """The outputs of a network."""
        x = seen.reshape(len(seen), -1).astype(float)
        for weights, bias in layers[:-1]:
            x = jnp.tanh(x @ weights + bias[None])
        return x @ layers[-1][0] + layers[-1][1][None]

    def epoch(self, state: Any, hparams: Mapping[str, Any]) -> tuple[Any, jax.Array]:
        """Train for UPDATES updates; the state, and the mean return of fresh episodes."""
        state, _ = jax.lax.scan(lambda state, _: (self.update(state, hparams), None), state, length=UPDATES)
        key, fresh = jax.random.split(state["key"])
        return state | {"key": key}, self.returns(state["weights"], fresh)

    def update(self, state: Any, hparams: Mapping[str, Any]) -> Any:
        """Act, and learn from it."""

        def act(carry: Any, key: jax.Array) -> Any:
            seen, world = carry
            choose, move = jax.random.split(key)
            odds = jax.nn.log_softmax(self.net(state["weights"]["actor"], seen))
            action = jax.random.categorical(choose, odds)
            chance, value = chosen(odds, action), self.net(state["weights"]["critic"], seen)
            after, world, reward, over = self.step(move, world, action)
            return (after, world), Moment(seen, action, chance, value[:, 0], reward, over)

        key, acting, learning = jax.random.split(state["key"], 3)
        begin = state["seen"], state["world"]
        (seen, world), moments = jax.lax.scan(act, begin, jax.random.split(acting, STEPS))
        last = self.net(state["weights"]["critic"], seen)[:, 0]

        def smooth(carry: Any, moment: Moment) -> Any:
            better, after = carry
            there = hparams["gamma"] * (1 - moment.over)
            better = moment.reward + there * after - moment.value + there * SMOOTH * better
            return (better, moment.value), better

        _, better = jax.lax.scan(smooth, (jnp.zeros(ENVS), last), moments, reverse=True)
        flat = jax.tree.map(lambda x: x.reshape(-1, *x.shape[2:]), (moments, better, better + moments.value))

        def part(carry: Any, rows: jax.Array) -> Any:
            weights, adam = carry
            gradient = jax.grad(self.loss)(weights, hparams, *jax.tree.map(lambda x: x[rows], flat))
            moves, adam = self.rule(hparams["learning_rate"]).update(gradient, adam)
            return (optax.apply_updates(weights, moves), adam), None

        orders = jax.vmap(lambda key: jax.random.permutation(key, ENVS * STEPS))(jax.random.split(learning, PASSES))
        rows = orders.reshape(PASSES * PARTS, -1)
        (weights, adam), _ = jax.lax.scan(part, (state["weights"], state["moments"]), rows)
        return {"weights": weights, "moments": adam, "seen": seen, "world": world, "key": key}

    def loss(
        self, weights: Any, hparams: Mapping[str, Any], moments: Moment, better: jax.Array, returns: jax.Array
    ) -> Any:
        """The clipped objective, the error of the values, and the entropy."""
        odds = jax.nn.log_softmax(self.net(weights["actor"], moments.seen))
        chance = chosen(odds, moments.action)
        better = (better - better.mean()) / (better.std() + 1e-8)
        ratio = jnp.exp(chance - moments.chance)
        policy = -jnp.minimum(ratio * better, jnp.clip(ratio, 1 - CLIP, 1 + CLIP) * better).mean()
        error = ((self.net(weights["critic"], moments.seen)[:, 0] - returns) ** 2).mean()
        entropy = -(jnp.exp(odds) * odds).sum(1).mean()
        return policy + VALUE * error - hparams["entropy"] * entropy

    def returns(self, weights: Any, key: jax.Array) -> jax.Array:
        """The mean return of FRESH episodes, the first of as many fresh environments."""
        begin, key = jax.random.split(key)

        def act(carry: Any, key: jax.Array) -> Any:
            seen, world, total, alive = carry
            choose, move = jax.random.split(key)
            action = jax.random.categorical(choose, self.net(weights["actor"], seen))
            seen, world, reward, over = self.step(move, world, action)
            return (seen, world, total + reward * alive, alive * (1 - over)), None

        carry = (*self.reset(begin, FRESH), jnp.zeros(FRESH), jnp.ones(FRESH))
        (_, _, total, _), _ = jax.lax.scan(act, carry, jax.random.split(key, self.longest))
        return total.mean()
