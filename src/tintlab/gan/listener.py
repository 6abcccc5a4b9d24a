"""The interface through which a training reports its progress."""

from typing import Protocol

from torch import Tensor

from tintlab.gan.data import Lab


class Listener(Protocol):
    """Receives the events of a training; it changes nothing in it."""

    def announced(self, text: str) -> None:
        """Something that people should read."""

    def stepped(self, iteration: int) -> None:
        """`iteration` steps are done."""

    def displayed(self, iteration: int, meters: dict[str, float]) -> None:
        """The running means of the six losses since the epoch's start."""

    def sampled(self, iteration: int, pictures: Lab, predicted: Tensor) -> None:
        """Validation pictures, and what the generator makes of their L now."""

    def validated(self, epoch: int, iteration: int, figures: dict[str, float]) -> None:
        """An epoch's figures on the validation squares."""


class Silent:
    """A listener that ignores all events: for processes that only help."""

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
