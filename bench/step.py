"""The training step of the thesis recipe: tintlab's loop against the tutorials' on the same networks.

U-Net of 54 million parameters, PatchGAN, 256 px, batch 16, float32. Each side runs in a process of its own, in
turns; tests/bench/test_equivalence.py shows that both compute the same losses and gradients.
"""

import functools

from measuring import Report, Row, command, conclude, interleaved, machine, parser, rates
from recipes import BATCH, baseline_step, our_step, thesis_params
from sides import sides


def main() -> None:
    """Measure and write the report."""
    options = parser("step", "The thesis recipe's training step against the tutorials' loop.", 5).parse_args()
    report = Report(command("step"), machine())
    builds = {"ours": functools.partial(our_step, thesis_params(), "GAN"), "baseline": baseline_step}
    with sides(builds) as both:
        seconds = interleaved(both, options.repeats)
        cpu = {name: side.cpu_seconds[-options.repeats :] for name, side in both.items()}
        memory = {name: side.peak_gigabytes() for name, side in both.items()}
    ours, baseline = rates(BATCH, seconds["ours"]), rates(BATCH, seconds["baseline"])
    report.rows = [
        Row(
            "training step, thesis recipe",
            "images/s",
            ours,
            baseline,
            "tutorial loop",
            "ours / baseline",
            at_least=1.3,
        ),
        Row(
            "CPU time of a training step, thesis recipe",
            "s",
            cpu["ours"],
            cpu["baseline"],
            "tutorial loop",
            "baseline / ours",
        ),
    ]
    report.details = {"seconds": seconds, "peak_gigabytes": memory}
    conclude(report, options.json)


if __name__ == "__main__":
    main()
