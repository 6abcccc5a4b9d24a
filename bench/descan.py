"""What `--descan` does to photographs, and to the same photographs faded: how far their L* is from the truth.

    python bench/descan.py FOLDER

Fading here is a fixed one: black rises by 22 L*, white falls by 12, and what is between goes along.
"""

import argparse
from pathlib import Path

import numpy as np

from tintlab.imaging.descan import even_out
from tintlab.imaging.photos import read_photo

RISEN, FALLEN = 22, 12


def main() -> None:
    """Print means over the photographs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    changed, before, after = [], [], []
    for path in sorted(parser.parse_args().folder.rglob("*.*")):
        fresh = read_photo(path, 200).lightness()
        again = fresh.copy()
        even_out(again)
        changed.append(np.abs(again - fresh).mean())
        faded = np.float32(RISEN) + fresh * np.float32((100 - RISEN - FALLEN) / 100)
        before.append(np.abs(faded - fresh).mean())
        even_out(faded)
        after.append(np.abs(faded - fresh).mean())
    print(f"{len(changed)} photographs as they are: changed by {np.mean(changed):.2f} L* in the mean")
    half, most = np.percentile(changed, [50, 90])
    print(f"half of them by less than {half:.2f}, nine of ten by less than {most:.2f}")
    print(f"faded: {np.mean(before):.2f} L* from the truth, evened out {np.mean(after):.2f}")


if __name__ == "__main__":
    main()
