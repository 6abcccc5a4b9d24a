"""The colorization recipe of well-known tutorials: pix2pix (Isola et al. 2017, arXiv 1611.07004) on L*a*b*.

A U-Net that is built from the inside out, a PatchGAN, and a loop that steps the discriminator and then the
generator. Contiguous tensors, torch's default optimisers, one loss at a time read out: nothing is tuned.
"""

import torch
from torch import Tensor, nn

LAMBDA_L1 = 100.0
LEARNING_RATE = 2e-4
BETAS = (0.5, 0.999)


class UNetBlock(nn.Module):
    """Halves a map, hands it to the block inside, doubles the result and joins it with what came in."""

    def __init__(
        self,
        outside: int,
        inside: int,
        inner: nn.Module | None,
        dropout: float = 0.0,
        outermost: tuple[int, int] | None = None,
    ) -> None:
        super().__init__()
        self.outermost = outermost is not None
        channels_in, channels_out = outermost or (outside, outside)
        down: list[nn.Module] = [
            nn.Conv2d(channels_in, inside, 4, 2, 1, bias=inner is None or self.outermost)
        ]
        if not self.outermost:
            down.insert(0, nn.LeakyReLU(0.2, inplace=True))
            if inner is not None:
                down.append(nn.BatchNorm2d(inside))
        from_inside = inside if inner is None else 2 * inside
        up: list[nn.Module] = [nn.ReLU(inplace=True)]
        up.append(nn.ConvTranspose2d(from_inside, channels_out, 4, 2, 1, bias=self.outermost))
        up.append(nn.Tanh() if self.outermost else nn.BatchNorm2d(channels_out))
        if dropout:
            up.append(nn.Dropout(dropout))
        self.down, self.inner, self.up = nn.Sequential(*down), inner, nn.Sequential(*up)

    def forward(self, x: Tensor) -> Tensor:
        """Map `(n, outside, h, w)` to `(n, 2 * outside, h, w)`; the outermost, L to ab."""
        y = self.down(x)
        if self.inner is not None:
            y = self.inner(y)
        y = self.up(y)
        return y if self.outermost else torch.cat([y, x], dim=1)


def unet(depth: int = 8, channels: int = 64, dropout: float = 0.5) -> UNetBlock:
    """The generator, L `(n, 1, h, w)` to ab `(n, 2, h, w)`; 54 million parameters as it stands."""
    widths = [channels * min(2**level, 8) for level in range(depth)]
    block: UNetBlock | None = None
    for level in range(depth - 1, 0, -1):
        inner_dropout = dropout if depth - 4 <= level < depth - 1 else 0.0
        block = UNetBlock(widths[level - 1], widths[level], block, inner_dropout)
    return UNetBlock(0, widths[0], block, outermost=(1, 2))


def patch_discriminator(channels: int = 64) -> nn.Sequential:
    """The discriminator: logits of overlapping patches of L and ab `(n, 3, h, w)`."""
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
    for level, stride in enumerate((2, 2, 1)):
        width = channels * 2**level
        layers.append(nn.Conv2d(width, 2 * width, 4, stride, 1, bias=False))
        layers += [nn.BatchNorm2d(2 * width), nn.LeakyReLU(0.2, inplace=True)]
    layers.append(nn.Conv2d(8 * channels, 1, 4, 1, 1))
    return nn.Sequential(*layers)


def init_norm(network: nn.Module) -> None:
    """Weights from N(0, 0.02), batch norm's scales from N(1, 0.02), biases 0."""
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(layer.weight, 0.0, 0.02)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, 0.02)
        if getattr(layer, "bias", None) is not None:
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]


class Pix2Pix:
    """The networks and the loop's step.

    Args:
        generator: L to ab.
        discriminator: logits of L and ab.
    """

    def __init__(self, generator: nn.Module, discriminator: nn.Module) -> None:
        self.generator, self.discriminator = generator, discriminator
        for network in (generator, discriminator):
            init_norm(network)
        self.generator_optimizer = torch.optim.Adam(generator.parameters(), lr=LEARNING_RATE, betas=BETAS)
        self.discriminator_optimizer = torch.optim.Adam(
            discriminator.parameters(), lr=LEARNING_RATE, betas=BETAS
        )
        self.gan_criterion, self.l1_criterion = nn.BCEWithLogitsLoss(), nn.L1Loss()
        self.real, self.fake = torch.tensor(1.0), torch.tensor(0.0)

    def _gan_loss(self, logits: Tensor, label: Tensor) -> Tensor:
        loss: Tensor = self.gan_criterion(logits, label.expand_as(logits))
        return loss

    def step(self, L: Tensor, ab: Tensor) -> dict[str, float]:
        """One step of the discriminator, then one of the generator; the six losses."""
        self.generator.train()
        self.discriminator.train()
        fake_ab = self.generator(L)

        self.discriminator.requires_grad_(True)
        self.discriminator_optimizer.zero_grad()
        loss_D_fake = self._gan_loss(self.discriminator(torch.cat([L, fake_ab], dim=1).detach()), self.fake)
        loss_D_real = self._gan_loss(self.discriminator(torch.cat([L, ab], dim=1)), self.real)
        loss_D = (loss_D_fake + loss_D_real) * 0.5
        loss_D.backward()
        self.discriminator_optimizer.step()

        self.discriminator.requires_grad_(False)
        self.generator_optimizer.zero_grad()
        loss_G_GAN = self._gan_loss(self.discriminator(torch.cat([L, fake_ab], dim=1)), self.real)
        loss_G_L1 = LAMBDA_L1 * self.l1_criterion(fake_ab, ab)
        loss_G = loss_G_GAN + loss_G_L1
        loss_G.backward()
        self.generator_optimizer.step()
        return {
            "loss_D_fake": loss_D_fake.item(),
            "loss_D_real": loss_D_real.item(),
            "loss_D": loss_D.item(),
            "loss_G_GAN": loss_G_GAN.item(),
            "loss_G_L1": loss_G_L1.item(),
            "loss_G": loss_G.item(),
        }
