"""torch.func: all models stacked, `vmap` over the gradient of one, in chunks of the fastest size."""

import time

import torch
import torch_trial
from torch.func import functional_call, grad, stack_module_state, vmap
from workload import BATCH, Outcome, Workload

CHUNK = 32  # models: the fastest of 4, 8, 16, 32 and 64 on two cores, with one thread or two


def train(work: Workload, trials: range) -> tuple[torch.Tensor, int]:
    """Validation accuracies of some trials that train at once, and their updates."""
    torch.manual_seed(trials.start)
    x, y, x_validation, y_validation = torch_trial.tensors(work)
    template = torch_trial.model()
    params, _ = stack_module_state([torch_trial.model() for _ in trials])
    params = {name: param.detach() for name, param in params.items()}
    velocity = {name: torch.zeros_like(param) for name, param in params.items()}
    rates, momenta = (
        torch.tensor(column[trials], dtype=torch.float32) for column in (work.learning_rate, work.momentum)
    )

    def loss(params: dict[str, torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.cross_entropy(functional_call(template, params, (x,)), y)

    gradients = vmap(grad(loss))
    updates = 0
    for _ in range(work.epochs):
        order = torch.rand(len(trials), len(x)).argsort(1)[:, : work.steps * BATCH]
        for rows in order.split(BATCH, 1):
            for name, gradient in gradients(params, x[rows], y[rows]).items():
                shape = (-1,) + (1,) * (gradient.ndim - 1)
                velocity[name].mul_(momenta.view(shape)).add_(gradient)
                params[name].addcmul_(velocity[name], rates.view(shape), value=-1)
            updates += len(trials)
    outputs = vmap(lambda params: functional_call(template, params, (x_validation,)))(params)
    return (outputs.argmax(2) == y_validation).float().mean(1), updates


@torch.no_grad()
def search(work: Workload) -> Outcome:
    """Train the trials chunk by chunk."""
    begin = time.perf_counter()
    chunks = [range(at, min(at + CHUNK, work.trials)) for at in range(0, work.trials, CHUNK)]
    accuracies, updates = zip(*[train(work, chunk) for chunk in chunks], strict=True)
    seconds = time.perf_counter() - begin
    settings = f"chunks of {min(CHUNK, work.trials)}, {torch.get_num_threads()} threads"
    return Outcome(torch.cat(accuracies).tolist(), sum(updates), 0.0, seconds, settings)
