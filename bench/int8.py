"""What int8 would cost in colour and save in time: OpenVINO's graphs, quantized by NNCF (`pip install nncf`).

    python bench/int8.py [--model FOLDER]

Run it in a project whose photographs were validated. It takes validation photographs alone: some calibrate,
others compare.
"""

import argparse
import random
import statistics
import time
from pathlib import Path
from typing import Any, cast

import nncf
import numpy as np
from skimage.color import deltaE_ciede2000

from tintlab.imaging.color import Float
from tintlab.imaging.photos import read_photo
from tintlab.inference.base_model import base_folder
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.engines import EngineChoice
from tintlab.inference.openvino_engine import OpenVinoEngine
from tintlab.inference.working_size import reduced, working_shape
from tintlab.system import paths
from tintlab.system.params import load_params
from tintlab.system.tables import read_table

CALIBRATING, COMPARING, TURNS = 100, 50, 15
WAYS = {"coarse": ["coarse"], "decoder": ["decode"], "coarse and decoder": ["coarse", "decode"]}


def draw_pictures(size: int) -> list[Float]:
    """L* of validation photographs at working size, in a random order that is always the same."""
    accepted = read_table(paths.ACCEPTED)
    names = accepted["photo"][accepted["split"] == "val"].tolist()
    random.Random(0).shuffle(names)
    found = []
    for name in names[: CALIBRATING + COMPARING]:
        lightness = read_photo(paths.RAW / name, load_params().photos.max_megapixels).lightness()
        found.append(reduced(lightness, working_shape(lightness.shape, size)))
    return found


def record_inputs(model: Colorizer, pictures: list[Float]) -> dict[str, list[list[Float]]]:
    """What each graph takes for these pictures."""
    engine = cast(Any, model.engine)
    taken: dict[str, list[list[Float]]] = {name: [] for name in engine._graphs}
    run = engine._run

    def watch(name: str, inputs: list[Float]) -> list[Float]:
        taken[name].append([np.array(each) for each in inputs])
        return cast(list[Float], run(name, inputs))

    engine._run = watch
    for picture in pictures:
        model.predict_working_ab(picture[None])
    del engine._run
    return taken


def quantize(model: Colorizer, names: list[str], taken: dict[str, list[list[Float]]]) -> Colorizer:
    """The model with some of its graphs in int8."""
    engine = cast(Any, model.engine)
    graphs = dict(engine._graphs)
    for name in names:
        graphs[name] = nncf.quantize(
            graphs[name].clone(),
            nncf.Dataset(taken[name]),
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=CALIBRATING,
        )
    about = {"multiple": engine.multiple, "z_dim": engine.z_dim, "inputs": engine._channels}
    return Colorizer(OpenVinoEngine(graphs, about, "fp32", 1), None, model.settings)


def distances(model: Colorizer, reference: Colorizer, pictures: list[Float]) -> tuple[float, float]:
    """CIEDE2000 between two models' colours: mean, and 99.9th percentile of all pixels."""
    found = []
    for picture in pictures:
        labs = [
            np.dstack([picture, each.predict_working_ab(picture[None])[0]]) for each in (model, reference)
        ]
        found.append(deltaE_ciede2000(*labs).ravel())
    return float(np.mean([each.mean() for each in found])), float(np.percentile(np.concatenate(found), 99.9))


def main() -> None:
    """Print a row for each precision."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=base_folder())
    arguments = parser.parse_args()
    reference = Colorizer.load(arguments.model, EngineChoice("openvino", "fp32"))
    pictures = draw_pictures(reference.settings.working_size)
    taken = record_inputs(reference, pictures[:CALIBRATING])
    models = {"fp32": reference, "bf16": Colorizer.load(arguments.model, EngineChoice("openvino", "bf16"))}
    models |= {f"int8: {name}": quantize(reference, graphs, taken) for name, graphs in WAYS.items()}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(TURNS + 1):
        for name, model in models.items():
            began = time.process_time()
            model.predict_working_ab(pictures[-1][None])
            if turn:  # the first one compiles
                seconds[name].append(time.process_time() - began)
    print("| | CPU ms a photograph | ΔE00 from fp32 | 99.9 % |\n|---|---|---|---|")
    for name, model in models.items():
        mean, most = distances(model, reference, pictures[CALIBRATING:])
        print(f"| {name} | {1000 * statistics.median(seconds[name]):.1f} | {mean:.2f} | {most:.2f} |")


if __name__ == "__main__":
    main()
