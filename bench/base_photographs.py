"""The list of the photographs that the base model learned from, from the pipeline's tables; no pixels.

    python bench/base_photographs.py ORIGINS HELD_OUT_FOLDER...

ORIGINS is the table of the collection (file, collection, source, licence, original). Run this in the checkout in
which `tintlab repro --preset base` ran. It writes into docs/base-model/: photographs.csv, a row a photograph;
sources.csv, what its column `origin` means; held-out.csv, the perceptual hashes of those that only judge.
"""

import argparse
from pathlib import Path

import imagehash
import pandas as pd
from PIL import Image

from tintlab.imaging.photos import read_photo
from tintlab.system import paths
from tintlab.system.tables import read_table

FOLDER = Path("docs/base-model")
COMMITS = {
    "Azure-Samples/cognitive-services-sample-data-files": "65af3b93",
    "BIDS/BSDS500": "a04b7c6c",
    "Cartucho/mAP": "3605865a",
    "ManaviAgrawal/VQA": "1b3c07d6",
    "alexeygrigorev/clothing-dataset": "7ed86a9c",
    "chanakya2734/Image-classification-using-CNN": "bf746c6e",
    "datitran/raccoon_dataset": "93938849",
    "davisking/dlib": "3d40bf57",
    "drewnoakes/metadata-extractor-images": "4beba640",
    "dusty-nv/jetson-inference": "45da40a8",
    "elementary/wallpapers": "f28b8614",
    "experiencor/kangaroo": "882bbbd7",
    "feedmejefferson/images": "cedc596c",
    "ianare/exif-samples": "5332a9cf",
    "pop-os/wallpapers": "03a25a14",
    "quantumnaan/sic_translator": "d27da85c",
    "thunderInfy/imagenette": "b850f030",
    "udacity/CVND_Exercises": "9f8216c0",
}
"""Of the repositories on GitHub, where the collection's notes state one."""
SUFFIXES = {".webp", ".jpg", ".jpeg", ".png"}


def list_photographs(origins: Path) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The photographs of the collection that trained or validated, and their different origins and licences."""
    photos = read_table(paths.PHOTOS)
    accepted = read_table(paths.ACCEPTED)[["photo", "split"]]
    used = photos.merge(accepted[accepted["split"].isin(["train", "val"])], on="photo")
    used["file"] = used.pop("origin").str.split("/", n=1).str[1]
    known = pd.read_csv(origins, dtype=str, keep_default_na=False)
    rows = used.merge(known, on="file").sort_values(["collection", "original"], ignore_index=True)
    origin = ["collection", "source", "licence"]
    sources = rows[origin].drop_duplicates().sort_values(origin, ignore_index=True)
    sources.insert(0, "origin", range(1, len(sources) + 1))
    repositories = sources["source"].str.removeprefix("github:")
    sources.insert(3, "commit", repositories.map(COMMITS).fillna("not recorded"))
    columns = ["origin", "original", "split", "phash"]
    return rows.merge(sources, on=origin)[columns].sort_values(columns, ignore_index=True), sources


def list_held_out(folders: list[Path]) -> pd.DataFrame:
    """The perceptual hash of each photograph of folders, as `fetch` calculates it."""
    rows = [
        (file.name, str(imagehash.phash(Image.fromarray(read_photo(file, 200).rgb()))))
        for folder in folders
        for file in sorted(folder.iterdir())
        if file.suffix in SUFFIXES
    ]
    return pd.DataFrame(rows, columns=["file", "phash"])


def main() -> None:
    """Write the three tables."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("origins", type=Path)
    parser.add_argument("held_out", type=Path, nargs="+")
    arguments = parser.parse_args()
    FOLDER.mkdir(exist_ok=True)
    photographs, sources = list_photographs(arguments.origins)
    for name, table in (
        ("photographs.csv", photographs),
        ("sources.csv", sources),
        ("held-out.csv", list_held_out(arguments.held_out)),
    ):
        table.to_csv(FOLDER / name, index=False, lineterminator="\n")
        print(f"{len(table)} rows in {FOLDER / name}")


if __name__ == "__main__":
    main()
