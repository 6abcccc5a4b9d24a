"""The conditional GAN: networks, losses, data, loop and files. Knows no tracker, pipeline or scheduler."""
