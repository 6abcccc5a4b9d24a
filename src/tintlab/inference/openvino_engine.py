"""Run a generator by OpenVINO, the fastest engine on CPUs.

A model is converted once, through a trace of torch's network, and its graphs are kept in the state folder under a
hash of everything they were made from. After that, torch is not even imported. Shapes stay dynamic: OpenVINO
prepares its code for each new shape in a few milliseconds and keeps it. Pictures have few different shapes,
because they are padded to the generator's multiple.

In bf16 the encoder's fine scales stay in fp32. They hold the photograph's texture, and rounding it costs as much
colour as all other rounding together: see docs/decisions.md.
"""

import hashlib
import sys
import threading
import warnings
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from tintlab.imaging.color import Float
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, file_sha256, read_json, temporary_folder, write_json

if TYPE_CHECKING:
    import openvino
    from torch import Tensor, nn

Graphs = dict[str, "openvino.Model"]
"""`fine` and `coarse` are the first half, cut after the map of stride 8; `decode` is the second half with noise.

`guided` is the second half with hints and palette, too: it costs more, so it runs only where one is given. A
generator that can't be cut is all `decode`.
"""

_FORMAT = 1  # of the kept graphs
_ABOUT = "about.json"
_FINE_MAPS = 3  # strides 2, 4 and 8
_PRECISIONS = {"fp32": "f32", "bf16": "bf16"}

_importing = threading.Lock()


class OpenVinoEngine:
    """Runs the graphs of a generator; see `engines.Engine`. Each thread has requests of its own.

    Args:
        graphs: see `Graphs`.
        about: `multiple` and `z_dim` of the generator, and the lengths of its vectors by their names.
        precision: `fp32` or `bf16`.
        workers: threads that compute at the same time.
    """

    def __init__(self, graphs: Graphs, about: Mapping[str, Any], precision: str, workers: int) -> None:
        openvino = import_openvino()
        self._multiple, self._z_dim = int(about["multiple"]), int(about["z_dim"])
        self._channels: dict[str, int] = about["inputs"]
        self._graphs, self._precision, self._workers = graphs, precision, workers
        self._core = openvino.Core()
        self._models: dict[str, Any] = {}
        self._compiling = threading.Lock()
        self._requests = threading.local()

    @property
    def multiple(self) -> int:
        """Sides of the pictures are multiples of this."""
        return self._multiple

    @property
    def z_dim(self) -> int:
        """Length of the noise vectors; 0 means that the generator takes none."""
        return self._z_dim

    @property
    def inputs(self) -> tuple[str, ...]:
        """See `engines.Engine`."""
        return tuple(self._channels)

    def encode(self, scaled: Float) -> Any:
        """See `engines.Engine`."""
        if "fine" not in self._graphs:
            return [scaled]
        fine = self._run("fine", [scaled])
        return fine + self._run("coarse", fine[-1:])

    def decode(self, encoded: Any, inputs: Mapping[str, Float]) -> Float:
        """See `engines.Engine`."""
        guided = "hints" in inputs or "palette" in inputs
        taken: list[Float] = list(encoded)
        pictures, _, height, width = taken[0].shape
        for name in self._channels if guided else self._channels.keys() & {"z"}:
            empty = (pictures, self._channels[name], *((2 * height, 2 * width) if name == "hints" else ()))
            given = inputs.get(name)
            taken.append(np.zeros(empty, np.float32) if given is None else np.ascontiguousarray(given))
        return self._run("guided" if guided else "decode", taken)[0]

    def _run(self, name: str, inputs: list[Float]) -> list[Float]:
        request = getattr(self._requests, name, None)
        if request is None:
            request = self._compiled(name).create_infer_request()
            setattr(self._requests, name, request)
        found = request.infer(inputs, share_inputs=True)
        return [cast(Float, found[index]) for index in range(len(found))]

    def _compiled(self, name: str) -> Any:
        with self._compiling:
            if name not in self._models:
                precision = _PRECISIONS["fp32" if name == "fine" else self._precision]
                # One thread a stream: workers are the parallelism. A single worker has all threads to itself.
                config: dict[str, Any] = {
                    "INFERENCE_PRECISION_HINT": precision,
                    "NUM_STREAMS": self._workers,
                    "ENABLE_CPU_PINNING": False,
                }
                if self._workers > 1:
                    config["INFERENCE_NUM_THREADS"] = self._workers
                self._models[name] = self._core.compile_model(self._graphs[name], "CPU", config)
            return self._models[name]


def import_openvino() -> Any:
    """OpenVINO's module, without the telemetry that it would send at its import and at each conversion."""
    with _importing:
        if "openvino" not in sys.modules:
            sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # "not installed": it has a stub
        openvino = import_module("openvino")
        # The first request makes a table of numpy's types. Two threads that do so at once would wait for each
        # other forever: one has the table's guard and wants Python's lock, the other has it the other way round.
        openvino.Type.f32.to_dtype()
        return openvino


def open_openvino(folder: Path, precision: str, workers: int) -> OpenVinoEngine:
    """Load a model, from graphs that were kept, or by converting it.

    Args:
        folder: see `Colorizer.load`.
        precision: see `OpenVinoEngine`, as for `workers`.
        workers: threads.

    Raises:
        TintlabError: no model there, or a damaged one.
    """
    from tintlab.inference.engines import in_project

    if in_project():
        kept = paths.converted_models() / _key(folder)
        found = _read(kept)
        if found is None:
            with atomic_folder(kept) as temporary:
                _convert(folder, temporary)
            found = _read(kept)
    else:
        # Graphs that were read differ from those just made in their last digits: read in any case.
        with temporary_folder("tintlab-engine") as temporary:
            _convert(folder, temporary)
            found = _read(temporary)
    if found is None:
        raise TintlabError("OpenVINO can't read the graphs that it wrote: use --engine torch")
    return OpenVinoEngine(*found, precision, workers)


def _key(folder: Path) -> str:
    """A hash of everything that the graphs are made from: weights, config, OpenVINO and this module's format."""
    openvino = import_openvino()
    digest = hashlib.sha256(f"{_FORMAT} {openvino.__version__}".encode())
    for name in (paths.MODEL_CONFIG, paths.WEIGHTS):
        try:
            digest.update(bytes.fromhex(file_sha256(folder / name)))
        except FileNotFoundError:
            digest.update(name.encode())  # the loader says what is missing
    return digest.hexdigest()[:16]


def _read(kept: Path) -> tuple[Graphs, dict[str, Any]] | None:
    """The graphs in a folder, or None where there are none that can be used."""
    openvino = import_openvino()
    try:
        about = read_json(kept / _ABOUT)
        core = openvino.Core()
        return {name: core.read_model(kept / f"{name}.xml") for name in about["graphs"]}, about
    except (OSError, TintlabError, KeyError, RuntimeError):
        return None


def _convert(folder: Path, target: Path) -> None:
    """Write the graphs of a model's folder, and what else an engine needs to know, into another folder."""
    import torch

    from tintlab.gan.model_files import load_generator
    from tintlab.inference.halves import cut

    openvino = import_openvino()
    generator, _ = load_generator(folder)
    halves = cut(generator)
    graphs: Graphs = {}
    with torch.no_grad():
        if halves.first is not None:
            graphs |= _cut_after_fine(_converted(halves.first, {"L": halves.lightness}))
        graphs["decode"] = _converted(*halves.second(*({"z"} & halves.inputs.keys())))
        if "hints" in halves.inputs:
            graphs["guided"] = _converted(*halves.second(*halves.inputs))
    for name, graph in graphs.items():
        try:
            openvino.save_model(graph, target / f"{name}.xml", compress_to_fp16=False)
        except RuntimeError:  # it does not say why
            raise TintlabError(
                f"OpenVINO can't write its graphs to {target.parent}: is the disk full?"
            ) from None
    about = {
        "multiple": cast(int, generator.multiple),
        "z_dim": cast(int, getattr(generator, "z_dim", 0)),
        "inputs": {name: each.shape[1] for name, each in halves.inputs.items()},
        "graphs": list(graphs),
    }
    write_json(target / _ABOUT, about)


def _cut_after_fine(first: "openvino.Model") -> Graphs:
    """The first half as two graphs: the second takes the last map of the first."""
    openvino = import_openvino()
    results = first.get_results()
    last = results[_FINE_MAPS - 1].input(0).get_source_output()
    taken = openvino.opset13.parameter(last.get_partial_shape(), openvino.Type.f32, name="fine")
    for port in last.get_target_inputs():
        if port.get_node().get_type_name() != "Result":
            port.replace_source_output(taken.output(0))
    return {
        "fine": openvino.Model(results[:_FINE_MAPS], first.get_parameters(), "fine"),
        "coarse": openvino.Model(results[_FINE_MAPS:], [taken], "coarse"),
    }


def _converted(network: "nn.Module", inputs: Mapping[str, "Tensor"]) -> "openvino.Model":
    import torch

    from tintlab.inference.halves import dynamic_shape

    openvino = import_openvino()
    examples = tuple(inputs.values())
    with warnings.catch_warnings():
        # Tracing follows one path through the checks of shapes, which hold for all pictures that get here.
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(network, examples, check_trace=False)  # type: ignore[no-untyped-call]
        # Not by openvino.convert_model, which takes several times as long and reports to its maker.
        decoder = import_module("openvino.frontend.pytorch.ts_decoder").TorchScriptPythonDecoder(
            traced, example_input=examples
        )
        frontend = openvino.frontend.FrontEndManager().load_by_framework("pytorch")
        model = frontend.convert(frontend.load(decoder))
    for port, name in zip(model.inputs, inputs, strict=True):
        port.get_tensor().set_names({name})
    model.reshape({name: openvino.PartialShape(dynamic_shape(one)) for name, one in inputs.items()})
    return model
