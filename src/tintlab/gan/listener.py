"""The interface through which a training reports its progress."""

from typing import Protocol

from torch import Tensor

from tintlab.gan.data import Lab


class Listener(Protocol):
    """Receives the events of a training; it changes nothing in it."""

    def announced(self, text: str) -> None:
        """Receive a message for the user."""

    def stepped(self, iteration: int) -> None:
        """Called after `iteration` steps."""

    def displayed(self, iteration: int, meters: dict[str, float]) -> None:
        """Receive the running means of the six losses since the epoch's start."""

    def sampled(self, iteration: int, pictures: Lab, predicted: Tensor) -> None:
        """Receive validation pictures, and the colours that the generator now predicts for them."""

    def validated(self, epoch: int, iteration: int, figures: dict[str, float]) -> None:
        """Receive an epoch's figures on the validation squares."""


class Silent:
    """A listener that ignores all events, for the processes of a training that don't report."""

    def announced(self, text: str) -> None:
        """As of `Listener`."""

    def stepped(self, iteration: int) -> None:
        """As of `Listener`."""

    def displayed(self, iteration: int, meters: dict[str, float]) -> None:
        """As of `Listener`."""

    def sampled(self, iteration: int, pictures: Lab, predicted: Tensor) -> None:
        """As of `Listener`."""

    def validated(self, epoch: int, iteration: int, figures: dict[str, float]) -> None:
        """As of `Listener`."""
