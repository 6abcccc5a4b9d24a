import errno
import hashlib
import io
import os
import shutil
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner, Result

from tests.scoring.conftest import decoded_png, make_model, make_settings, saved
from tintlab.cli import app
from tintlab.imaging import color
from tintlab.imaging.photos import read_photo
from tintlab.imaging.provenance import read_provenance
from tintlab.imaging.statistics import HISTOGRAM, SCALARS, Reference
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.engines import choose
from tintlab.scoring import archive as batch
from tintlab.scoring import chunk as scoring
from tintlab.scoring import manifest, page, transfer
from tintlab.scoring.chunk import list_remaining, score_chunk
from tintlab.scoring.plan import plan
from tintlab.scoring.settings import ScoreSettings
from tintlab.system import files as storage
from tintlab.system import locks, paths
from tintlab.system.errors import TintlabError


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def files(folder: Path) -> set[str]:
    """Coloured files, without the manifest and its like."""
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    ours = {manifest.MANIFEST, manifest.QUARANTINE, page.PAGE}
    return {name for name in found if name not in ours and not name.startswith(manifest.STATE)}


def rows(folder: Path) -> pd.DataFrame:
    return pq.read_table(folder / manifest.MANIFEST).to_pandas().set_index("input")


def changed_since(folder: Path, times: dict[str, int]) -> set[str]:
    return {name for name in files(folder) if (folder / name).stat().st_mtime_ns != times.get(name)}


def times(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in files(folder)}


# --- the command


def test_score_keeps_the_tree_and_says_what_became_of_each(
    archive: Path, model: Path, tmp_path: Path
) -> None:
    target = tmp_path / "coloured"
    result = run("score", archive, target, "--model", model)
    assert result.exit_code == 2, result.output
    assert "3 photographs coloured, 1 file can't be used" in result.output
    assert "1920/broken.jpg: the picture's data is cut short" in result.output
    assert files(target) == {"a.jpg.png", "a.png.png", "1920/b.png"}
    table = rows(target)
    assert table["outcome"].to_dict() == {
        "1920/b.jpg": "coloured",
        "1920/broken.jpg": "quarantined",
        "1920/notes.txt": "skipped",
        ".hidden/": "skipped",
        "a.jpg": "coloured",
        "a.png": "coloured",
    }
    row = table.loc["1920/b.jpg"]
    coloured = target / "1920/b.png"
    assert row["output"] == "1920/b.png"
    assert row["output_sha256"] == sha256(coloured)
    assert row["input_sha256"] == sha256(archive / "1920/b.jpg")
    assert (row["width"], row["height"]) == (70, 50)
    assert row["seconds"] > 0
    assert table.loc["1920/broken.jpg", "reason"] == "the picture's data is cut short"
    quarantine = pd.read_csv(target / manifest.QUARANTINE)
    assert quarantine.to_dict("records") == [
        {"input": "1920/broken.jpg", "reason": "the picture's data is cut short"}
    ]
    origin = read_provenance(coloured.read_bytes())
    assert origin is not None
    assert origin.source_sha256 == row["input_sha256"]
    assert origin.weights_sha256 == row["weights_sha256"] == sha256(model / "generator.safetensors")
    assert origin.training == "0123456789abcdef"
    with Image.open(coloured) as image:
        assert image.size == (70, 50)
        assert np.asarray(image).std(axis=-1).max() > 0


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_exit_statuses(archive: Path, model: Path, tmp_path: Path) -> None:
    assert run("score", archive / "a.jpg", tmp_path / "one", "--model", model).exit_code == 0
    assert run("score", archive / "a.jpg", tmp_path / "one", "--model", model).exit_code == 0
    nothing = run("score", archive / "1920/broken.jpg", tmp_path / "none", "--model", model)
    assert nothing.exit_code == 1
    assert "0 photographs coloured, 1 file can't be used" in nothing.output


def test_a_dry_run_writes_nothing(archive: Path, model: Path, tmp_path: Path) -> None:
    result = run("score", archive, tmp_path / "out", "--model", model, "--dry-run")
    assert result.exit_code == 0
    assert "4 photographs would be coloured" in result.output
    assert f"a.jpg -> {tmp_path}/out/a.jpg.png" in result.output
    assert not (tmp_path / "out").exists()


def test_what_is_refused_leaves_nothing_behind(archive: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    refused = {
        "is INPUT itself": (archive, archive),
        "there are no photographs in": (tmp_path / "empty", tmp_path / "new"),
        "is no folder, list, pattern or photograph": (tmp_path / "nowhere", tmp_path / "new"),
        "is a file: name a folder": (archive, tmp_path / "file"),
    }
    for words, (source, output) in refused.items():
        result = run("score", source, output, "--model", model)
        assert result.exit_code == 1
        assert words in str(result.exception)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_the_output_of_a_scoring_is_no_archive(archive: Path, model: Path, tmp_path: Path) -> None:
    run("score", archive, tmp_path / "out", "--model", model)
    again = run("score", tmp_path / "out", tmp_path / "twice", "--model", model)
    assert "is the output of a scoring" in str(again.exception)
    assert not (tmp_path / "twice").exists()


def test_drift_is_told_again_of_the_model_in_the_folder_of_then(
    archive: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    shutil.copytree(model, tmp_path / "model")
    figures = [dict.fromkeys([*HISTOGRAM, *SCALARS], float(number)) for number in range(40)]
    storage.write_json(tmp_path / "model" / paths.TRAINING_SUMMARY, Reference.of(figures).model_dump())
    run("score", archive, tmp_path / "out", "--model", tmp_path / "model")
    assert "not told from 3 photographs scored" in run("drift", tmp_path / "out").output
    make_model(tmp_path / "model", seed=1)
    assert "is not known any more" in str(run("drift", tmp_path / "out").exception)


def test_formats_and_depth(archive: Path, model: Path, tmp_path: Path) -> None:
    for name, kind in (("jpeg", "JPEG"), ("webp", "WEBP")):
        run("score", archive / "a.png", tmp_path / name, "--model", model, "--format", name, "--quality", 80)
        [found] = files(tmp_path / name)
        with Image.open(tmp_path / name / found) as image:
            assert image.format == kind
    deep = run("score", archive / "a.png", tmp_path / "deep", "--model", model, "--depth", 16)
    assert deep.exit_code == 0, deep.output
    assert (tmp_path / "deep/a.png").read_bytes()[24] == 16  # IHDR's bit depth
    for wrong in (["--depth", "12"], ["--depth", "16", "--format", "jpeg"]):
        refused = run("score", archive, tmp_path / "wrong", "--model", model, *wrong)
        assert isinstance(refused.exception, TintlabError)
        assert "depth" in str(refused.exception)


@pytest.mark.parametrize("size", ["0", "-5", "31"])
def test_an_impossible_working_size_is_refused(size: str, archive: Path, model: Path, tmp_path: Path) -> None:
    result = run("score", archive, tmp_path / "out", "--model", model, "--working-size", size)
    assert result.exit_code == 2
    assert "working-size" in result.output
    assert not (tmp_path / "out").exists()


def test_a_missing_model_says_how_to_get_one(archive: Path, tmp_path: Path) -> None:
    result = run("score", archive, tmp_path / "out", "--model", tmp_path)
    assert isinstance(result.exception, TintlabError)
    assert not (tmp_path / "out").exists()


def test_colorize_writes_beside_or_where_told(archive: Path, model: Path, tmp_path: Path) -> None:
    arguments = ["colorize", archive / "a.jpg", "--model", model, "-o", tmp_path / "out"]
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    first = (tmp_path / "out/a-coloured.png").read_bytes()
    run(*arguments)
    assert (tmp_path / "out/a-coloured.png").read_bytes() == first
    assert read_provenance(first) is not None
    both = run("colorize", archive / "a.jpg", archive / "a.png", "--model", model, "-o", tmp_path / "out")
    assert "both become a-coloured.png" in str(both.exception)


# --- what a photograph becomes


def test_colours_are_those_of_the_model_alone_or_among_others(
    archive: Path, model: Path, settings: ScoreSettings
) -> None:
    score_chunk(plan(archive, settings.output, ".png").photos, settings, "part")
    alone = Colorizer.load(model, choose()).colorize(read_photo(archive / "a.png", 1))
    among = np.asarray(Image.open(settings.output / "a.png.png"))
    assert np.abs(among.astype(int) - alone).max() <= 1


def test_saturation_scales_the_colours(archive: Path, model: Path, tmp_path: Path) -> None:
    spread = []
    for number, saturation in enumerate((0.0, 0.5, 1.0)):
        settings = make_settings(model, tmp_path / str(number), saturation=saturation)
        score_chunk(plan(archive / "a.png", settings.output, ".png").photos, settings, "part")
        spread.append(np.asarray(Image.open(settings.output / "a.png")).astype(float).std(axis=-1).mean())
    assert spread[0] == 0
    assert spread[1] == pytest.approx(spread[2] / 2, rel=0.2)


def test_sixteen_bits_reach_the_output(model: Path, tmp_path: Path) -> None:
    ramp = np.linspace(3000, 60000, 96 * 96).astype(np.uint16).reshape(96, 96)
    (tmp_path / "ramp.tif").write_bytes(saved(Image.fromarray(ramp), "TIFF"))

    settings = make_settings(model, tmp_path / "out", depth=16)
    score_chunk(plan(tmp_path / "ramp.tif", settings.output, ".png").photos, settings, "part")
    lightness = color.lightness(decoded_png((settings.output / "ramp.png").read_bytes()))
    assert len(np.unique(lightness.round(3))) > 5000
    np.testing.assert_allclose(lightness, color.grey_to_lightness(ramp), atol=0.05)


def test_the_manifest_says_that_16_bit_colours_were_read_as_8(model: Path, tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    colours = np.linspace(0, 65535, 40 * 50 * 3).astype(np.uint16).reshape(40, 50, 3)
    tifffile.imwrite(scans / "colour.tif", colours, photometric="rgb")
    tifffile.imwrite(scans / "grey.tif", colours[..., 0])
    planes = np.moveaxis(colours, -1, 0)
    tifffile.imwrite(scans / "planes.tif", planes, photometric="rgb", planarconfig="separate")
    assert run("score", scans, tmp_path / "out", "--model", model).exit_code == 0
    notes = rows(tmp_path / "out")["notes"]
    assert notes["colour.tif"] == notes["planes.tif"] == "of its 16 bits a channel 8 were read"
    assert notes["grey.tif"] == ""


def test_hostile_names(model: Path, tmp_path: Path, picture: Callable[..., np.ndarray]) -> None:
    data = saved(Image.fromarray(picture()), "JPEG")
    (tmp_path / "scans").mkdir()
    turned = "\N{RIGHT-TO-LEFT OVERRIDE}gpj.a.jpg".encode()
    names = [b"new\nline.jpg", b"caf\xe9.jpg", turned, b"=cmd.jpg", b"x" * 251 + b".jpg", b"y" * 255]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path / "scans") + b"/" + name)).write_bytes(data)
    result = run("score", tmp_path / "scans", tmp_path / "out", "--model", model)
    assert "5 photographs coloured, 1 file can't be used" in result.output
    assert rows(tmp_path / "out")["reason"].max() == "can't be written: File name too long"
    again = run("score", tmp_path / "scans", tmp_path / "out", "--model", model)
    assert "going on: 5 of 6" in again.output


@pytest.mark.parametrize("pattern", ["", "/*"])
def test_links_to_nowhere_and_pipes_are_quarantined(
    pattern: str, archive: Path, model: Path, tmp_path: Path
) -> None:
    (archive / "lost.jpg").symlink_to(tmp_path / "nowhere")
    (archive / "circle.jpg").symlink_to("circle.jpg")
    (archive / "folder.jpg").symlink_to(archive / "1920")
    os.mkfifo(archive / "pipe.jpg")
    assert run("score", f"{archive}{pattern}", tmp_path / "out", "--model", model).exit_code == 2
    told = rows(tmp_path / "out")["reason"]
    assert told["lost.jpg"] == "can't be opened: No such file or directory"
    assert told["circle.jpg"] == "can't be opened: Too many levels of symbolic links"
    assert told["pipe.jpg"] == "a device or pipe, no file"
    assert "folder.jpg" not in told


def test_a_folder_in_the_way_of_a_file(
    model: Path, tmp_path: Path, picture: Callable[..., np.ndarray]
) -> None:
    data = saved(Image.fromarray(picture()), "JPEG")
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/a.jpg").write_bytes(data)
    (tmp_path / "out/a.png/sub").mkdir(parents=True)
    result = run("score", tmp_path / "scans", tmp_path / "out", "--model", model)
    assert result.exit_code == 1
    assert "a.jpg: can't be written: Is a directory" in result.output


def test_a_fault_of_our_own_costs_one_photograph(
    archive: Path, settings: ScoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = scoring.encode

    def fragile(pixels: np.ndarray, *arguments: object) -> object:
        if pixels.shape[0] == 50 and threading.current_thread().name and not failed:
            failed.append(True)
            raise ValueError("odd\npixels")
        return whole(pixels, *arguments)  # type: ignore[arg-type]

    failed: list[bool] = []
    monkeypatch.setattr(scoring, "encode", fragile)
    summary = score_chunk(plan(archive, settings.output, ".png").photos, settings, "part")
    assert (summary.coloured, summary.quarantined) == (2, 2)
    reasons = set(manifest.merge_parts(settings.output)["reason"])
    assert "can't be coloured: ValueError: odd pixels" in reasons


def test_a_full_disk_stops_the_run_and_nothing_is_lost(
    archive: Path, settings: ScoreSettings, monkeypatch: pytest.MonkeyPatch
) -> None:

    whole, calls = transfer.atomic_path, []

    def full(path: Path) -> object:
        calls.append(path)
        if len(calls) == 2:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return whole(path)

    photos = plan(archive, settings.output, ".png").photos
    with monkeypatch.context() as patch, pytest.raises(OSError, match="No space left"):
        patch.setattr(transfer, "atomic_path", full)
        score_chunk(photos, replace(settings, workers=1), "part")
    assert len(list_remaining(photos, settings)) == 3
    assert score_chunk(photos, settings, "part").coloured == 3


# --- going on


def test_started_again_it_does_nothing_twice(archive: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("score", archive, out, "--model", model)
    before = times(out)
    again = run("score", archive, out, "--model", model)
    assert "going on: 3 of 4 photographs are done" in again.output
    assert "3 photographs coloured, 1 file can't be used" in again.output
    assert not changed_since(out, before)
    os.utime(archive / "a.png", ns=(1, 1))  # a copy of the archive
    (out / "a.jpg.png").unlink()
    (out / "1920/b.png").write_bytes(b"cut")
    result = run("score", archive, out, "--model", model)
    assert result.exit_code == 2
    assert changed_since(out, before) == {"a.jpg.png", "1920/b.png"}


def test_a_changed_source_is_coloured_again(archive: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("score", archive, out, "--model", model)
    before = times(out)
    data = bytearray((archive / "a.png").read_bytes())
    (archive / "a.png").write_bytes(saved(Image.open(io.BytesIO(bytes(data))).rotate(180), "PNG"))
    run("score", archive, out, "--model", model)
    assert changed_since(out, before) == {"a.png.png"}


def test_a_mended_photograph_leaves_quarantine(archive: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run("score", archive, out, "--model", model)
    (archive / "1920/broken.jpg").write_bytes((archive / "a.jpg").read_bytes())
    assert run("score", archive, out, "--model", model).exit_code == 0
    assert rows(out).loc["1920/broken.jpg", "outcome"] == "coloured"
    assert pd.read_csv(out / manifest.QUARANTINE).empty


def test_another_model_or_parameter_starts_over_and_says_so(
    archive: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run("score", archive, out, "--model", model)
    before = times(out)
    vivid = run("score", archive, out, "--model", model, "--saturation", 1.5)
    assert "starting over, because saturation was 1.0 and is 1.5" in vivid.output
    assert changed_since(out, before) == files(out)
    before = times(out)
    other = make_model(tmp_path / "other", seed=1)
    preview = run("score", archive, out, "--model", other, "--saturation", 1.5, "--dry-run")
    assert "starting over, because the model is another one" in preview.output
    assert not changed_since(out, before)
    run("score", archive, out, "--model", other, "--saturation", 1.5)
    assert changed_since(out, before) == files(out)
    assert set(rows(out)["weights_sha256"]) == {"", sha256(other / "generator.safetensors")}


def test_two_at_once_are_refused(archive: Path, settings: ScoreSettings) -> None:
    with (
        batch.open_scoring(archive, settings),
        pytest.raises(locks.HeldError, match=r"another scoring to .*out is under way: pid"),
        batch.open_scoring(archive, settings),
    ):
        pass


def test_chunks_leave_their_own_parts_and_merge(archive: Path, settings: ScoreSettings) -> None:
    with batch.open_scoring(archive, settings) as work:
        chunks = [work.left[:2], work.left[2:]]
        threads = [
            threading.Thread(target=score_chunk, args=[chunk, settings, f"chunk-{number}"])
            for number, chunk in enumerate(chunks)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        names = {path.name for path in manifest.parts_folder(settings.output).glob("*.parquet")}
        assert names == {"chunk-0.00001.parquet", "chunk-1.00001.parquet", "skipped.00001.parquet"}
        result = batch.finish_scoring(work)
    assert (result.coloured, set(result.quarantined), result.status) == (3, {"1920/broken.jpg"}, 2)
    assert score_chunk(chunks[0], settings, "chunk-0").coloured + 1 == 2


def test_header_is_checked_before_decoding(archive: Path, settings: ScoreSettings) -> None:
    limited = replace(settings, max_megapixels=0.001)
    score_chunk(plan(archive / "a.png", settings.output, ".png").photos, limited, "part")
    assert "photos.max_megapixels" in manifest.merge_parts(settings.output)["reason"].item()
    photos = plan(archive / "a.png", settings.output, ".png").photos
    assert score_chunk(photos, settings, "part").coloured == 1
