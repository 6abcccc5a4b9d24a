"""Two processes on one batch: real `torchrun`, gloo on the CPU; the code path of several GPUs."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from tests.gan.test_loop import THREE_PHASES, TWO_PHASES
from tintlab.gan.data import Augmentation, Batches
from tintlab.gan.distributed import GlobalBatchNorm2d, with_global_batches
from tintlab.system.paths import LAST_WEIGHTS, WEIGHTS

ROOT = Path(__file__).parents[2]
PIX2PIX: dict[str, Any] = {"dropout": 0.0, "batch_size": 4, "iterations_per_epoch": 5}
PRETRAINED = TWO_PHASES | PIX2PIX | {"context_dropout": 0.0}
VARIED = THREE_PHASES | PIX2PIX | {"context_dropout": 0.0}

PROGRAM = """
import json, sys
from pathlib import Path
import numpy as np
from tests.gan.test_loop import Recorded, tiny
from tintlab.gan.distributed import is_first_process
from tintlab.gan.listener import Silent
from tintlab.gan.loop import Training
from tintlab.imaging.squares import Shards
folder, recipe, stop = Path(sys.argv[1]), json.loads(sys.argv[2]), int(sys.argv[3])
random = np.random.default_rng(0)
coarse = random.integers(40, 220, (12, 10, 10)).repeat(4, axis=1).repeat(4, axis=2)
squares = np.stack([coarse, 60 + coarse / 2, 220 - coarse / 2], axis=-1).astype(np.uint8)
if sys.argv[4] == "shards":
    squares = Shards([squares[:5], squares[5:6], squares[6:]])
training = Training(tiny(**recipe), folder, Recorded() if is_first_process() else Silent())
try:
    history = training.run(squares, squares[:4], lambda: is_first_process() and training.iteration == stop)
except KeyboardInterrupt:
    sys.exit(0)
if is_first_process():
    Path(folder / "history.json").write_text(json.dumps([history.losses, history.validation]))
"""


def trained(
    folder: Path, processes: int, recipe: dict[str, Any], stop: int = -1, squares: str = "array"
) -> list[Any]:
    """The history of a training by so many processes; weights are in the folder."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
    program = folder.parent / "program.py"
    program.write_text(PROGRAM)
    ended = subprocess.run(
        [sys.executable, *launcher, str(program), str(folder), json.dumps(recipe), str(stop), squares],
        cwd=ROOT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT / 'src'}:{ROOT}"},
        capture_output=True,
        text=True,
        timeout=250,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    history = folder / "history.json"
    return json.loads(history.read_text()) if history.exists() else []


def assert_alike(one: list[Any], two: list[Any]) -> None:
    assert len(one[0]) == len(two[0]) > 0
    for rows, others in zip(one, two, strict=True):
        for row, other in zip(rows, others, strict=True):
            assert other == pytest.approx(row, rel=2e-3)


@pytest.mark.parametrize("recipe", [PIX2PIX, PRETRAINED], ids=["pix2pix", "pretrained"])
def test_two_processes_go_the_way_of_one(recipe: dict[str, Any], tmp_path: Path) -> None:
    one = trained(tmp_path / "1", 1, recipe)
    two = trained(tmp_path / "2", 2, recipe, squares="shards")
    assert_alike(one, two)
    alone, together = (load_file(tmp_path / number / LAST_WEIGHTS) for number in ("1", "2"))
    for name, value in alone.items():
        assert torch.allclose(together[name].float(), value.float(), rtol=0.05, atol=2e-3), name


@pytest.mark.slow
def test_two_processes_go_through_all_phases_and_stop_and_go_on(tmp_path: Path) -> None:
    whole = trained(tmp_path / "whole", 2, VARIED)
    assert trained(tmp_path / "cut", 2, VARIED, stop=10) == []
    assert trained(tmp_path / "cut", 2, VARIED) == whole
    for name in (WEIGHTS, LAST_WEIGHTS):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "cut" / name).read_bytes()


def test_shares_of_a_batch_make_up_the_batch() -> None:
    squares = np.random.default_rng(0).integers(0, 255, (7, 40, 40, 3)).astype(np.uint8)
    augmentation = Augmentation((20, 40), 0.2, 5)
    whole = Batches(squares, 32, 6, 4, 0, augmentation)[3]
    for rank in range(3):
        share = Batches(squares, 32, 6, 4, 0, augmentation, share=(rank, 3))[3]
        assert torch.equal(share.L, whole.L[rank::3])
        assert torch.equal(share.ab, whole.ab[rank::3])


def test_global_batch_norm_is_torchs_where_there_is_one_process(tmp_path: Path) -> None:
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'rendezvous'}", rank=0, world_size=1
    )
    try:
        torch.manual_seed(0)
        plain = nn.BatchNorm2d(5)
        nn.init.normal_(plain.weight)
        ours = nn.BatchNorm2d(5)
        ours.load_state_dict(plain.state_dict())
        assert isinstance(with_global_batches(ours), GlobalBatchNorm2d)
        x = (torch.randn(4, 5, 6, 7) * 3 + 2).requires_grad_()
        y = x.detach().clone().requires_grad_()
        for network, pictures in ((plain, x), (ours, y)):
            network(pictures).square().mul(torch.arange(5.0).view(1, 5, 1, 1)).sum().backward()
        torch.testing.assert_close(y.grad, x.grad, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(ours.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-3)
        torch.testing.assert_close(ours.state_dict(), plain.state_dict(), rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(ours.eval()(y), plain.eval()(x), rtol=1e-5, atol=1e-5)
    finally:
        torch.distributed.destroy_process_group()
