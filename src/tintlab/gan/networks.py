"""Build the networks of a training and their optimisers, and save and load their state."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from tintlab.gan.discriminator import PatchDiscriminator
from tintlab.gan.distributed import launched_fabric, of_all_processes, with_global_batches
from tintlab.gan.kernel_loss import KernelLoss
from tintlab.gan.model_files import build_generator, generator_config
from tintlab.gan.noise import LatentEncoder
from tintlab.gan.perceptual import PerceptualLoss
from tintlab.system.params import TrainParams

_GAIN = 0.02
_Tensors = tuple[Tensor, ...] | list[Tensor]

GUIDANCE = ("hints", "palette")
"""The generator's submodules that learn in the guidance phase."""


class Networks:
    """Generator, discriminator and latent encoder on their device, synchronised with the other processes.

    Args:
        params: the `train` section of params.yaml.
        announce: called with each line that people should read.
        parent: weights to start from, see `model_files.parent_weights`; None for its initial ones.

    Attributes:
        fabric: device and processes.
        generator: and `generator_optimizer`, for all of its weights that learn, but those of noise and hints.
        guidance_optimizer: for the generator's layers for hints and palettes; None without these.
        discriminator: and `discriminator_optimizer`.
        latent_encoder: and `noise_optimizer`, for it and the generator's noise; None without noise.
        average: the moving average of the generator; None without one.
        perceptual: the perceptual loss; its network is frozen.
        kernel: the loss on sets of pictures; it keeps the features of the most recent ones.
    """

    def __init__(
        self, params: TrainParams, announce: Callable[[str], None], parent: Mapping[str, Tensor] | None
    ) -> None:
        self.fabric = launched_fabric(params.device, params.precision)
        torch.manual_seed(params.seed)
        discriminator = PatchDiscriminator(params.discriminator_channels, params.discriminator_norm)
        generator = build_generator(generator_config(params))
        # A pretrained generator and a parent come with initial weights.
        fresh = params.generator == "unet" and parent is None
        for network in (discriminator, generator) if fresh else (discriminator,):
            init_norm(network)
            announce("model initialized with norm initialization")
        if parent is not None:
            generator.load_state_dict(generator.state_dict() | dict(parent))
        # The optimisers and the other devices must know all weights that train in any phase from the start.
        generator.freeze_encoder(params.frozen_epochs is None and params.generator == "pretrained_unet")
        noise = list(generator.get_submodule("noise").parameters()) if params.z_dim else []
        guidance = (
            [each for name in GUIDANCE for each in generator.get_submodule(name).parameters()]
            if params.hints
            else []
        )
        known = {id(parameter) for parameter in [*noise, *guidance]}
        others = [each for each in generator.parameters() if each.requires_grad and id(each) not in known]
        self.generator, self.generator_optimizer = self._set_up(
            generator,
            torch.optim.AdamW(
                others,
                lr=params.learning_rate,
                betas=params.betas,
                weight_decay=params.weight_decay,
                fused=True,
            ),
        )
        self.discriminator, self.discriminator_optimizer = self._set_up(
            discriminator,
            torch.optim.Adam(
                discriminator.parameters(),
                lr=params.discriminator_learning_rate,
                betas=params.betas,
                fused=True,
            ),
        )
        self._set_up_noise(noise, params)
        self.guidance_optimizer: Any = None
        if guidance:
            self.guidance_optimizer = self.fabric.setup_optimizers(
                torch.optim.Adam(guidance, lr=params.l1_learning_rate, fused=True)
            )
        self.average = average_weights(self.generator.module, params.ema_decay) if params.ema_decay else None
        self.perceptual = PerceptualLoss(self._mixed).to(self.fabric.device)
        self.kernel = KernelLoss(self.perceptual.encoder.pooled_channels).to(self.fabric.device)
        # Each process has dropout and noise of its own, on pictures of its own.
        torch.manual_seed(params.seed + self.fabric.global_rank)

    def _set_up_noise(self, noise: list[nn.Parameter], params: TrainParams) -> None:
        """Make the latent encoder and the optimiser that train the generator's noise layers, if it has any."""
        self.latent_encoder: Any = None
        self.noise_optimizer: Any = None
        if not noise:
            return
        latent_encoder = LatentEncoder(params.z_dim)
        self.latent_encoder, self.noise_optimizer = self._set_up(
            latent_encoder,
            torch.optim.Adam(
                [*noise, *latent_encoder.parameters()],
                lr=params.noise_learning_rate,
                betas=params.betas,
                fused=True,
            ),
        )

    def _set_up(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        if self.fabric.world_size > 1:
            with_global_batches(network)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        module, wrapped_optimizer = self.fabric.setup(network, optimizer)
        return module, wrapped_optimizer

    @property
    def _mixed(self) -> bool:
        """Whether the networks calculate in bfloat16."""
        return str(self.fabric._precision.precision) == "bf16-mixed"

    @property
    def kept_generator(self) -> nn.Module:
        """The generator that is validated and saved: the moving average, if there is one."""
        module: nn.Module = self.average.module if self.average is not None else self.generator.module
        return module

    def state_dict(self) -> dict[str, Any]:
        """The networks, the optimisers, and the random states of all processes."""
        return {
            "generator": self.generator.module.state_dict(),
            "discriminator": self.discriminator.module.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "latent_encoder": self.latent_encoder.module.state_dict() if self.latent_encoder else {},
            "noise_optimizer": self.noise_optimizer.state_dict() if self.noise_optimizer else {},
            "guidance_optimizer": self.guidance_optimizer.state_dict() if self.guidance_optimizer else {},
            "average": self.average.state_dict() if self.average is not None else {},
            "kernel": self.kernel.state_dict(),
            "random": self._of_all_processes(torch.get_rng_state()),
            "gpu_random": self._of_all_processes(self._gpu.get_rng_state()) if self._gpu else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self.generator.module.load_state_dict(state["generator"])
        self.discriminator.module.load_state_dict(state["discriminator"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        if self.latent_encoder is not None:
            self.latent_encoder.module.load_state_dict(state["latent_encoder"])
            self.noise_optimizer.load_state_dict(state["noise_optimizer"])
        if self.guidance_optimizer is not None:
            self.guidance_optimizer.load_state_dict(state["guidance_optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        self.kernel.load_state_dict(state["kernel"])
        # With another number of processes than before, a resumed training does not reproduce the result
        # exactly.
        own = self.fabric.global_rank % len(state["random"])
        torch.set_rng_state(state["random"][own].clone())  # torch crashes at a view
        if self._gpu and state["gpu_random"] is not None:
            self._gpu.set_rng_state(state["gpu_random"][own].clone())

    def of_all_processes(self, *values: Tensor) -> list[Tensor]:
        """Values of the global batch `(n, ...)`, without gradients."""
        if self.fabric.world_size == 1:
            return [each.detach() for each in values]
        return [of_all_processes(each.detach().contiguous()).flatten(0, 1) for each in values]

    def _of_all_processes(self, random: Tensor) -> Tensor:
        """The random states of all processes, `(processes, bytes)`."""
        return of_all_processes(random.to(self.fabric.device)).cpu()

    @property
    def _gpu(self) -> Any:
        """`torch.cuda` or `torch.mps`, if dropout draws its random numbers there; None on the CPU."""
        device = self.fabric.device
        return None if device.type == "cpu" else torch.get_device_module(device)


def average_weights(network: nn.Module, decay: float) -> AveragedModel:
    """Copy `network`; `update_parameters` moves the copy towards the network, batch statistics included.

    Such an exponential moving average has steadier colours than the weights of a single step. Early on it
    follows faster, with decay (1 + n) / (10 + n) after n updates, because the first weights are soon
    outdated.
    """

    def update(averages: _Tensors, currents: _Tensors, updates: Tensor | int) -> None:
        keep = min(decay, (1 + int(updates)) / (10 + int(updates)))
        for average, current in zip(averages, currents, strict=True):
            if average.is_floating_point():
                # lerp leaves equal values exactly equal, so a frozen encoder does not change.
                average.lerp_(current, 1 - keep)
            else:
                average.copy_(current)

    # All at once: asking a GPU for the number of updates at every weight would stall it hundreds of times.
    return AveragedModel(network, multi_avg_fn=update, use_buffers=True).eval()


def init_norm(network: nn.Module) -> None:
    """Initialise as pix2pix does (Isola et al. 2017, section 6.2).

    Convolutions are drawn from N(0, 0.02) with zero bias, and batch norm's scales from N(1, 0.02).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, _GAIN)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, _GAIN)
            nn.init.zeros_(module.bias)
