"""JaxMARL's IPPO on its simple_spread, in a process of its own: `python -m train.speed.jaxmarl_ippo`.

Its package holds the worlds; the training here follows its published script (baselines/IPPO/ippo_ff_mpe.py):
the same network, with ReLU, which it offers beside tanh and ours has; loss, optimiser and order of work. For
every line that it reads it trains for one iteration, and answers with a line.
"""

from __future__ import annotations

import os
import sys
from typing import Any, NamedTuple

from train.speed.mlp import EPOCHS, MINIBATCHES, STEPS, WIDTH, WORLDS

_GAMMA, _LAMBDA, _CLIP, _ENTROPY, _VALUE = 0.99, 0.95, 0.2, 0.01, 0.5
_LEARNING_RATE, _MOST = 2.5e-4, 0.5


class Step(NamedTuple):
    """What all agents of all worlds saw and did."""

    done: Any
    action: Any
    value: Any
    reward: Any
    log_prob: Any
    seen: Any


def main() -> int:
    """Serve iterations on one core until the input ends."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # before JAX starts its threads
    os.environ["XLA_FLAGS"] = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["JAX_PLATFORMS"] = "cpu"
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what JaxMARL prints is no answer
    iterate, carry = _made()
    for _ in sys.stdin:
        carry, loss = iterate(carry)
        answers.write(f"{float(loss)}\n")
        answers.flush()
    return 0


def _made() -> tuple[Any, Any]:  # noqa: PLR0915  # as JaxMARL's script: closures, which JAX compiles as one
    """One iteration, compiled, and what it starts from."""
    import distrax
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import jaxmarl
    import optax
    from flax.linen.initializers import orthogonal
    from flax.training.train_state import TrainState
    from jaxmarl.wrappers.baselines import MPELogWrapper

    env: Any = MPELogWrapper(jaxmarl.make("MPE_simple_spread_v3"))
    agents, n_rows = env.agents, len(env.agents) * WORLDS

    class ActorCritic(nn.Module):
        @nn.compact
        def __call__(self, x: Any) -> Any:
            def tower(n: int, gain: float) -> Any:
                y = x
                for _ in range(2):
                    y = nn.relu(nn.Dense(WIDTH, kernel_init=orthogonal(2**0.5))(y))
                return nn.Dense(n, kernel_init=orthogonal(gain))(y)

            n_actions = env.action_space(agents[0]).n
            return distrax.Categorical(logits=tower(n_actions, 0.01)), tower(1, 1.0)[..., 0]

    network = ActorCritic()

    def rows(given: Any) -> Any:
        return jnp.stack([given[agent] for agent in agents]).reshape(n_rows, -1)

    def step(carry: Any, _: None) -> Any:
        state, worlds, seen, key = carry
        key, *keys = jax.random.split(key, 3)
        x = rows(seen)
        policy, value = network.apply(state.params, x)
        action = policy.sample(seed=keys[0])
        chosen = dict(zip(agents, action.reshape(len(agents), WORLDS), strict=True))
        seen, worlds, reward, done, _ = jax.vmap(env.step)(jax.random.split(keys[1], WORLDS), worlds, chosen)
        kept = Step(rows(done)[:, 0], action, value, rows(reward)[:, 0], policy.log_prob(action), x)
        return (state, worlds, seen, key), kept

    def loss(parameters: Any, part: Step, advantage: Any, target: Any) -> Any:
        policy, value = network.apply(parameters, part.seen)
        ratio = jnp.exp(policy.log_prob(part.action) - part.log_prob)
        near = part.value + (value - part.value).clip(-_CLIP, _CLIP)
        value_loss = 0.5 * jnp.maximum((value - target) ** 2, (near - target) ** 2).mean()
        advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        gain = jnp.minimum(ratio * advantage, ratio.clip(1 - _CLIP, 1 + _CLIP) * advantage)
        return _VALUE * value_loss - gain.mean() - _ENTROPY * policy.entropy().mean()

    def backwards(carry: Any, kept: Step) -> Any:
        advantage, following = carry
        left = 1 - kept.done
        error = kept.reward + _GAMMA * following * left - kept.value
        advantage = error + _GAMMA * _LAMBDA * left * advantage
        return (advantage, kept.value), advantage

    def minibatch(state: Any, part: Any) -> Any:
        found, gradients = jax.value_and_grad(loss)(state.params, *part)
        return state.apply_gradients(grads=gradients), found

    @jax.jit
    def iterate(carry: Any) -> Any:
        (state, worlds, seen, key), steps = jax.lax.scan(step, carry, None, STEPS)
        _, last = network.apply(state.params, rows(seen))
        _, advantages = jax.lax.scan(backwards, (jnp.zeros_like(last), last), steps, reverse=True, unroll=16)
        samples = steps, advantages, advantages + steps.value

        def epoch(carry: Any, _: None) -> Any:
            state, key = carry
            key, own = jax.random.split(key)
            order = jax.random.permutation(own, STEPS * n_rows)

            def shuffled(x: Any) -> Any:
                x = x.reshape(STEPS * n_rows, *x.shape[2:])[order]
                return x.reshape(MINIBATCHES, -1, *x.shape[1:])

            state, losses = jax.lax.scan(minibatch, state, jax.tree.map(shuffled, samples))
            return (state, key), losses

        (state, key), losses = jax.lax.scan(epoch, (state, key), None, EPOCHS)
        return (state, worlds, seen, key), losses.mean()

    key = jax.random.PRNGKey(0)
    parameters = network.init(key, jnp.zeros(env.observation_space(agents[0]).shape))
    optimizer = optax.chain(optax.clip_by_global_norm(_MOST), optax.adam(_LEARNING_RATE, eps=1e-5))
    state = TrainState.create(apply_fn=network.apply, params=parameters, tx=optimizer)
    seen, worlds = jax.vmap(env.reset)(jax.random.split(key, WORLDS))
    return iterate, (state, worlds, seen, key)


if __name__ == "__main__":
    raise SystemExit(main())
