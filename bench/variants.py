"""What each of the fast paths is worth in the thesis recipe's step, and what was tried besides.

Each row undoes one thing, or adds one: the loop as it is against the loop changed, at batch 8, each in a process
of its own, in turns. Above 1, the loop as it is is faster.
"""

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

from measuring import Report, Row, command, conclude, interleaved, machine, parser
from recipes import THREADS, pictures, thesis_params
from sides import Build, sides
from tintlab.gan import loop
from tintlab.gan.listener import Silent
from tintlab.gan.loop import Training

BATCH = 8

CHANGES = {
    "freed memory given back to the kernel": "undone",
    "optimisers a tensor at a time": "undone",
    "activations not in place": "undone",
    "contiguous tensors, not channels last": "undone",
    "optimisers by foreach": "tried",
    "torch.compile": "tried",
}
"""Changes of the loop, by name: a fast path undone, or one that was tried."""


def step(change: str) -> Callable[[], object]:
    """A step of the thesis recipe with one of `CHANGES`; as it is where the name is empty."""
    if change == "freed memory given back to the kernel":
        loop.keep_all_freed_memory = lambda: None
    params = thesis_params().model_copy(update={"threads": THREADS})
    with tempfile.TemporaryDirectory() as folder:
        training = Training(params, Path(folder), Silent())
    networks: list[nn.Module] = [training.networks.generator.module, training.networks.discriminator.module]
    batch = pictures(params.image_size, BATCH)
    if change == "contiguous tensors, not channels last":
        for network in networks:
            network.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    else:
        batch = batch.to(torch.device("cpu"))
    for optimizer in (training.networks.generator_optimizer, training.networks.discriminator_optimizer):
        for group in optimizer.param_groups:
            if change.startswith("optimisers"):
                group["fused"], group["foreach"] = False, change.endswith("foreach")
    for network in networks:
        for module in network.modules():
            if change == "activations not in place" and isinstance(module, nn.ReLU | nn.LeakyReLU):
                module.inplace = False
        if change == "torch.compile":
            network.compile()
    return lambda: training.step(batch)


def main() -> None:
    """Measure and write the report."""
    text = "What each fast path of the training step is worth."
    options = parser("variants", text, 4).parse_args()
    report = Report(command("variants"), machine())
    builds: dict[str, Build] = {name: functools.partial(step, name) for name in ("", *CHANGES)}
    with sides(builds) as started:
        first = {name: side() for name, side in started.items()}
        interleaved(started, options.repeats)
        cpu = {name: side.cpu_seconds[-options.repeats :] for name, side in started.items()}
    for name, kind in CHANGES.items():
        report.rows.append(
            Row(
                f"{kind}: {name}",
                "CPU s a step",
                cpu[""],
                cpu[name],
                "the loop so changed",
                "baseline / ours",
            )
        )
    report.details = {"seconds_of_the_first_step": first, "batch": BATCH}
    conclude(report, options.json)


if __name__ == "__main__":
    main()
