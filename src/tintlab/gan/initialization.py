"""The "norm" initialisation of pix2pix (Isola et al. 2017, section 6.2)."""

from torch import nn

GAIN = 0.02


def init_norm(network: nn.Module) -> None:
    """Draw convolutions from N(0, 0.02) with zero bias, and batch norm's scale from N(1, 0.02)."""
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            nn.init.normal_(module.weight, 0.0, GAIN)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1.0, GAIN)
            nn.init.zeros_(module.bias)
