"""The conditional GAN: networks, losses, data, loop and files; independent of tracker and pipeline."""
