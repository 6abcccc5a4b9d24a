"""Small files by other programs, and what those programs read in them: `samples/`.

`python -m tests.imaging.make_samples` makes them again. It needs Debian's libheif-examples, libavif-bin,
libjxl-tools and exiftool. Two HEIC files are by pillow-heif, because Debian 12's heif-enc neither turns nor
tiles pictures; heif-convert reads them.
"""

import io
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import pillow_heif
from PIL import Image

from tests.conftest import make_picture
from tests.imaging.test_profiles import rgb_profile

SAMPLES = Path(__file__).with_name("samples")
P3 = [(0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841)]


def run(*command: str | Path) -> None:
    """Run a program that must succeed."""
    subprocess.run([str(part) for part in command], check=True, capture_output=True)


def jpeg(pixels: np.ndarray, profile: bytes = b"") -> bytes:
    """A camera's file: sideways, with a date and a place."""
    exif = Image.Exif()
    exif[274], exif[271], exif[306] = 6, "a camera", "2001:02:03 04:05:06"
    exif.get_ifd(0x8825).update({1: "N", 2: (48.0, 12.0, 30.0)})
    file = io.BytesIO()
    options = {"icc_profile": profile} if profile else {}
    Image.fromarray(pixels).save(
        file, "JPEG", quality=97, subsampling="4:4:4", exif=exif.tobytes(), **options
    )
    return file.getvalue()


def main() -> None:
    """See the module."""
    pillow_heif.register_heif_opener()
    pixels = make_picture(60, 40, seed=5)
    grey = np.add.outer(np.linspace(0, 20000, 40), np.linspace(0, 45535, 60)).astype(np.uint16)
    with tempfile.TemporaryDirectory() as name:
        at = Path(name)
        (at / "p3.jpg").write_bytes(jpeg(pixels, rgb_profile(P3)))
        (at / "plain.jpg").write_bytes(jpeg(pixels))
        Image.fromarray(pixels).save(at / "p.png")
        Image.fromarray(grey).save(at / "deep.png")
        Image.fromarray(np.dstack([pixels, 255 - pixels[..., :1]])).save(at / "alpha.png")
        run("heif-enc", "-q", "90", "-o", at / "plain.heic", at / "p.png")
        run("exiftool", "-q", "-overwrite_original", "-XMP-dc:Title=harbour", at / "plain.heic")
        run("heif-enc", "-q", "90", "-o", at / "profile.heic", at / "p3.jpg")
        run("heif-enc", "-q", "95", "-b", "10", "-o", at / "deep.heic", at / "deep.png")
        run("heif-enc", "-q", "90", "-o", at / "alpha.heic", at / "alpha.png")
        run("heif-enc", "-q", "90", "-o", at / "album.heic", at / "p.png", at / "p3.jpg")
        Image.open(at / "plain.jpg").save(at / "turned.heic", quality=90)
        Image.fromarray(make_picture(300, 200, seed=6)).save(
            at / "tiles.heic", quality=40, grid_tile_size=128
        )
        run("avifenc", "--min", "5", "--max", "12", at / "plain.jpg", at / "turned.avif")
        run("avifenc", "--min", "5", "--max", "12", "-d", "10", at / "p.png", at / "ten.avif")
        run("cjxl", at / "plain.jpg", at / "turned.jxl")
        run("cjxl", "-d", "0.5", at / "p.png", at / "lossy.jxl")
        run("cjxl", "-d", "0", at / "deep.png", at / "deep.jxl")
        run("cjxl", "-d", "0", at / "alpha.png", at / "alpha.jxl")
        for path in sorted([*at.glob("*.heic"), *at.glob("*.avif"), *at.glob("*.jxl")]):
            decoded = at / f"{path.name}.png"
            program = {".heic": "heif-convert", ".avif": "avifdec", ".jxl": "djxl"}[path.suffix]
            run(program, path, decoded)
            if not decoded.exists():  # of several pictures: a number each
                decoded = at / f"{path.name}-1.png"
            with Image.open(decoded) as image:
                image.load()
                profile = image.info.get("icc_profile", b"")
                more = {"icc_profile": profile} if profile else {}
                Image.fromarray(np.asarray(image)).save(SAMPLES / f"{path.name}.png", optimize=True, **more)
            (SAMPLES / path.name).write_bytes(path.read_bytes())


if __name__ == "__main__":
    main()
