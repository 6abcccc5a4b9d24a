"""Draw noise vectors from a seed and a photograph's sha256; order, batch and sample count do not matter."""

import numpy as np

from tintlab.imaging.color import Float
from tintlab.system.errors import TintlabError


def draw(seed: int, sha256: str, count: int, z_dim: int) -> Float:
    """Noise vectors z ~ N(0, I) for a photograph, `(count, z_dim)`; fewer of them are the first of more.

    Args:
        seed: not below 0.
        sha256: of the photograph's file, hexadecimal: each photograph gets vectors of its own.
        count: how many.
        z_dim: length of each; see `Colorizer.z_dim`.

    Raises:
        TintlabError: the model takes no noise, or the seed is below 0.
    """
    if not z_dim:
        raise TintlabError(
            "this model takes no noise vector, so it has one colouring only: "
            "train one with train.z_dim above 0, or use `tintlab explore variants --dropout`"
        )
    if seed < 0:
        raise TintlabError(f"the seed is a whole number from 0 up, not {seed}")
    from scipy.special import ndtri  # a quarter of a second

    # Normal numbers by numpy's ziggurat would do, but numpy does not promise the same ones in later versions.
    bits = np.random.Philox(np.random.SeedSequence([seed, int(sha256, 16)])).random_raw(count * z_dim)
    uniform = ((bits >> np.uint64(11)) + 0.5) * 2.0**-53
    return ndtri(uniform).astype(np.float32).reshape(count, z_dim)  # type: ignore[no-any-return]
