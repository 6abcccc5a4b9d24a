"""How far training is from what the machine could do, and where the rest goes.

Operations of a step as torch counts them (convolutions and matrix products, a multiplication and an addition
apart) over seconds, beside those of a large float32 matrix product; and by a profile, what takes the time.
"""

import functools
import operator
import statistics
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from measuring import Report, Row, command, conclude, interleaved, machine, parser, rates
from recipes import BATCH, THREADS, baseline_step, default_params, our_step, phases, thesis_params
from sides import Build, sides

MATMUL_SIDE = 4096

KINDS = {
    "convolutions": ("convolution",),
    "normalisation": ("batch_norm", "group_norm"),
    "activations": ("relu", "threshold", "clamp", "hardtanh", "tanh", "bernoulli", "dropout"),
    "optimiser and moving average": ("adam", "lerp", "Optimizer"),
    "copies, joins, fills": ("copy", "cat", "fill", "pad", "clone", "contiguous", "zero"),
    "interpolation": ("upsample",),
}
"""Kinds of operations by what their names hold; the first that fits counts."""


def matmul() -> Callable[[], object]:
    """A large matrix product, by oneDNN as the convolutions are: torch's own is MKL's, half as fast on AMD."""
    torch.set_num_threads(THREADS)
    left, right = torch.rand(2, MATMUL_SIDE, MATMUL_SIDE)
    packed = left.to_mkldnn()
    return lambda: nn.functional.linear(packed, right)


def teraflop(step: Callable[[], object]) -> float:
    """Floating-point operations of a step, in units of 10¹²."""
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops() / 1e12


def profiled(step: Callable[[], object]) -> dict[str, float]:
    """The share of a step's time that each kind of operation takes."""
    step()
    with profile(activities=[ProfilerActivity.CPU]) as made:
        step()
    taken: Counter[str] = Counter()
    for event in made.key_averages():
        kind = next((kind for kind, parts in KINDS.items() if any(p in event.key for p in parts)), "other")
        taken[kind] += event.self_cpu_time_total
    total = sum(taken.values())
    return {kind: time / total for kind, time in taken.most_common()}


def looked_into(build: Build) -> dict[str, Any]:
    """Operations and profile of a side's step."""
    step = build()
    return {"teraflop": teraflop(step), "profile": profiled(step)}


def main() -> None:
    """Measure and write the report."""
    text = "Floating-point operations a second against a matrix product's; the default recipe's rate."
    options = parser("limit", text, 7).parse_args()
    report = Report(command("limit"), machine())
    default, thesis = default_params(), thesis_params()
    size = default.image_size
    steps: dict[str, Build] = {
        "thesis": functools.partial(our_step, thesis, "GAN"),
        **{f"default, {phase}": functools.partial(our_step, default, phase) for phase in phases(default)},
        f"tutorial, {size} px": functools.partial(baseline_step, size),
    }
    with sides(steps | {"matmul": matmul}) as started:
        seconds = interleaved(started, options.repeats)
    peak = rates(2 * MATMUL_SIDE**3 / 1e9, seconds["matmul"])
    known = {name: looked_into(build) for name, build in steps.items()}
    for name in steps:
        reached = rates(1e3 * known[name]["teraflop"], seconds[name])
        title = f"operations, {name}" + (" phase" if name.startswith("default") else "")
        report.rows.append(Row(title, "GFLOP/s", reached, peak, "matrix product", "ours / baseline"))
    spans = {phase: count for phase, (_, count) in phases(default).items()}
    ours = [
        BATCH * sum(spans.values()) / sum(map(operator.mul, spans.values(), taken))
        for taken in zip(*(seconds[f"default, {phase}"] for phase in spans), strict=True)
    ]
    theirs = rates(BATCH, seconds[f"tutorial, {size} px"])
    report.rows.append(
        Row(
            f"training step, default recipe, {size} px",
            "images/s",
            ours,
            theirs,
            "tutorial loop",
            "ours / baseline",
            at_least=8,
        )
    )
    report.details = {
        "median_seconds": {name: statistics.median(taken) for name, taken in seconds.items()},
        "steps_of_phases": spans,
        "steps": known,
    }
    conclude(report, options.json)


if __name__ == "__main__":
    main()
