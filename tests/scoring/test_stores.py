"""Scoring from and to object stores, against servers on this machine."""

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from tests.scoring.conftest import make_settings
from tests.scoring.object_store import (
    Proxy,
    client_of,
    empty_buckets,
    environment,
    keys_of,
    run_proxy,
    run_store,
)
from tests.scoring.stores import SOURCE, TARGET
from tests.scoring.test_hint_lists import RED
from tests.studio.conftest import CONFIG as HINT_MODEL
from tintlab.gan.model_files import build_generator, save_generator
from tintlab.inference.mlflow_model import file_hashes
from tintlab.scoring import archive as scoring
from tintlab.scoring import mirror
from tintlab.scoring.archive import ScoringResult
from tintlab.scoring.manifest import STATE
from tintlab.scoring.preview import make_preview
from tintlab.scoring.shared_model import fetch_model, share_model
from tintlab.scoring.store_plan import plan_store
from tintlab.sources import stores
from tintlab.sources.remote import Patience
from tintlab.sources.stored_file import StoredFile
from tintlab.system.errors import TintlabError


@pytest.fixture(scope="module")
def moto() -> Iterator[str]:
    pytest.importorskip("moto.server", reason="moto is not installed")
    with run_store() as url:
        yield url


@pytest.fixture
def proxy(moto: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """A way to an empty store with the buckets `archive` and `coloured`; clients are told by the environment."""
    empty_buckets(client_of(moto))
    monkeypatch.setattr(stores, "PATIENCE", Patience(seconds=10, attempts=8, pause=0.005))
    with run_proxy(moto) as proxy:
        for name, value in environment(proxy.url, tmp_path / "state").items():
            monkeypatch.setenv(name, value)
        open_again()
        yield proxy
    open_again()


@pytest.fixture
def client(proxy: Proxy, moto: str) -> Any:
    return client_of(moto)


def open_again() -> None:
    stores.open_store.cache_clear()


def put(client: Any, *names: str, seed: int = 0) -> None:
    for number, name in enumerate(names):
        client.put_object(Bucket="archive", Key=name, Body=photo(seed + number))


def photo(seed: int) -> bytes:
    file = BytesIO()
    pixels = np.random.default_rng(seed).integers(0, 255, (5, 7), np.uint8)
    Image.fromarray(pixels).resize((70, 50)).save(file, "JPEG")
    return file.getvalue()


def score(model: Path, source: str = SOURCE, target: str = TARGET, **changes: object) -> ScoringResult:
    folder, store = mirror.resolve_output(target)
    settings = make_settings(model, folder, store=store, **changes)
    return scoring.score(source, settings, lambda _: None)


def pictures(client: Any) -> dict[str, bytes]:
    keys = [key for key in keys_of(client, "coloured") if key.endswith(".png")]
    return {key: client.get_object(Bucket="coloured", Key=key)["Body"].read() for key in keys}


def manifest_of(client: Any) -> Any:
    body = client.get_object(Bucket="coloured", Key="all/manifest.parquet")["Body"].read()
    return pq.read_table(BytesIO(body)).to_pandas()


def refused(*arguments: Any, **options: Any) -> str:
    with pytest.raises(TintlabError) as caught:
        score(*arguments, **options)
    text = str(caught.value)
    assert "\n" not in text
    assert "hidden-key" not in text
    return text


def test_a_store_has_the_bytes_that_a_disk_has(
    client: Any, model: Path, archive: Path, tmp_path: Path
) -> None:
    for path in archive.rglob("*.*"):
        if path.is_file():
            client.upload_file(str(path), "archive", f"scans/{path.relative_to(archive)}")
    on_disk = scoring.score(archive, make_settings(model, tmp_path / "out"), lambda _: None)
    in_store = score(model)
    assert in_store.line() == on_disk.line()
    assert set(in_store.quarantined) == set(on_disk.quarantined) == {"1920/broken.jpg"}
    local = {
        f"all/{p.relative_to(tmp_path / 'out')}": p.read_bytes() for p in (tmp_path / "out").rglob("*.png")
    }
    assert pictures(client) == local
    rows, there = manifest_of(client), pq.read_table(tmp_path / "out/manifest.parquet").to_pandas()
    same = ["input", "input_sha256", "output", "output_sha256", "outcome", "reason", "width", "height"]
    assert rows[rows["outcome"] != "skipped"][same].equals(there[there["outcome"] != "skipped"][same])
    from_store = score(model, target=str(tmp_path / "third"))
    assert from_store.coloured == 3
    assert {f"all/{p.relative_to(tmp_path / 'third')}" for p in (tmp_path / "third").rglob("*.png")} == set(
        local
    )


def test_a_second_run_writes_only_what_changed(client: Any, proxy: Proxy, model: Path) -> None:
    put(client, *(f"scans/{number}.jpg" for number in range(5)))
    assert score(model).coloured == 5
    proxy.written.clear()
    assert score(model).coloured == 5
    assert not [name for name in proxy.written if name.endswith(".png")]
    put(client, "scans/2.jpg", seed=77)
    client.delete_object(Bucket="coloured", Key="all/4.png")
    assert score(model).coloured == 5
    written = {name for name in proxy.written if name.endswith(".png")}
    assert written == {"/coloured/all/2.png", "/coloured/all/4.png"}


def test_another_machine_goes_on_from_the_store_alone(
    client: Any, proxy: Proxy, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, *(f"scans/{number}.jpg" for number in range(3)))
    score(model)
    put(client, "scans/3.jpg", seed=3)
    proxy.written.clear()
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "another"))
    assert score(model).coloured == 4
    assert [name for name in proxy.written if name.endswith(".png")] == ["/coloured/all/3.png"]
    assert len(manifest_of(client)) == 4
    # Back on the first machine, with other settings: everything again, and no row of before.
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    assert score(model, saturation=0.5).coloured == 4
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "another"))
    proxy.written.clear()
    assert score(model, saturation=0.5).coloured == 4
    assert not [name for name in proxy.written if name.endswith(".png")]


def test_who_was_overtaken_by_other_settings_stops(client: Any, model: Path, tmp_path: Path) -> None:
    put(client, "scans/0.jpg")
    folder, store = mirror.resolve_output(TARGET)
    settings = make_settings(model, folder, store=store)
    with scoring.open_scoring(SOURCE, settings) as work:
        client.put_object(Bucket="coloured", Key=f"all/{STATE}/generation", Body=b"another")
        with pytest.raises(TintlabError, match="started over with other settings"):
            scoring.score_chunk(work.left, work.settings, "photos")


def test_busy_stores_are_asked_again(client: Any, proxy: Proxy, model: Path) -> None:
    put(client, *(f"scans/{number}.jpg" for number in range(20)))
    proxy.busy_every = 5
    assert score(model).coloured == 20
    assert Counter(name for name in proxy.written if name.endswith(".png")).total() == 20
    assert max(times for name, times in proxy.written.items() if name.endswith(".png")) == 1


def test_a_store_that_stays_away_stops_the_run(client: Any, proxy: Proxy, model: Path) -> None:
    put(client, "scans/0.jpg")
    proxy.busy_every = 1
    assert refused(model) == f"{TARGET} can't be listed after 8 attempts: the store says SlowDown"


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("s3://nowhere/scans", TARGET, "s3://nowhere/scans: there is no such bucket"),
        (SOURCE, "s3://nowhere/all", "s3://nowhere/all: there is no such bucket"),
        (SOURCE, SOURCE, "is INPUT itself"),
        ("s3://archive/empty", TARGET, "there are no photographs in s3://archive/empty"),
        ("s3://archive/scans/0.jpg", TARGET, "is one photograph: name its folder"),
        ("s3://ann:pass@archive/scans", TARGET, "credentials come from the environment"),
        (SOURCE, "s3://coloured/all?X-Amz-Signature=1f", "no query"),
        (SOURCE, "https://example.org/all", "can only be read"),
        ("ftp://archive/scans", TARGET, "stores are s3, gs, az, sftp, http, https"),
        (f"{SOURCE}/below", SOURCE, "would overwrite a photograph"),
    ],
)
def test_what_is_refused(client: Any, model: Path, source: str, target: str, said: str) -> None:
    put(client, "scans/0.jpg", "scans/below/0.png", "scans/below/below/0.png")
    assert said in refused(model, source, target)
    assert "pass@" not in refused(model, source, target)
    assert keys_of(client, "coloured") == {}


@pytest.mark.parametrize(
    ("method", "status", "code", "said"),
    [
        ("PUT", 403, "AccessDenied", f"{TARGET} can't be written: permission denied"),
        ("GET", 403, "AccessDenied", f"{TARGET} can't be listed: permission denied"),
        ("GET", 403, "RequestTimeTooSkewed", "this machine's clock is wrong: set it"),
        (
            "GET",
            403,
            "InvalidAccessKeyId",
            "the store does not accept these credentials (InvalidAccessKeyId)",
        ),
        ("PUT", 400, "InvalidRequest", "the store says InvalidRequest"),
    ],
)
def test_refusals_of_the_store_are_one_line(
    client: Any, proxy: Proxy, model: Path, method: str, status: int, code: str, said: str
) -> None:
    put(client, "scans/0.jpg")
    proxy.refuse[method] = (status, code)
    assert said in refused(model)
    assert keys_of(client, "coloured") == {}


def test_no_credentials(client: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    assert "there are no credentials: set them in the environment" in refused(model)


def test_awkward_keys(client: Any, model: Path) -> None:
    good = ["a b.jpg", "Zürich/日本.jpg", "100%+&=#.jpg", "A.jpg", "a.JPG"]
    left_out = [".hidden/a.jpg", "notes.txt", f"other/{STATE}/settings.json", "other/a.png"]
    put(client, *(f"scans/{name}" for name in good + left_out))
    result = score(model)
    assert result.coloured == len(good), result.quarantined
    rows = manifest_of(client).set_index("input")
    assert set(rows.index[rows["outcome"] == "coloured"]) == set(good)
    assert set(rows.index[rows["outcome"] == "skipped"]) == {".hidden/", "notes.txt", "other/"}
    assert len(pictures(client)) == len(good)


def test_keys_that_no_file_could_have_are_left_out(
    client: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # moto's web server folds such paths, so that it can't hold them; S3 does.
    bad = ["../up.jpg", "in/../../up.jpg", "twice//a.jpg", "./here.jpg", "/root.jpg", "x" * 250 + ".jpg"]
    listed = [StoredFile(name, 100, "1", 1) for name in [*bad, "good.jpg"]]
    monkeypatch.setattr(stores.Store, "files", lambda *_: iter(listed))
    plan = plan_store(SOURCE, make_settings(model, Path("out"), store=TARGET))
    assert [one.name for one in plan.photos] == ["good.jpg"]
    assert sum("its key" in one.reason for one in plan.skipped) == len(bad)
    assert not plan.is_complete


def test_what_is_in_the_store_names_no_secret(client: Any, model: Path, tmp_path: Path) -> None:
    put(client, "scans/0.jpg")
    score(model)
    for key in keys_of(client, "coloured"):
        body = client.get_object(Bucket="coloured", Key=key)["Body"].read()
        assert b"hidden-key" not in body
        assert not (key.endswith(".json") and "ann" in json.loads(body))
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert b"hidden-key" not in path.read_bytes(), path


def test_objects_over_the_limit_are_named(client: Any, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(client, "scans/0.jpg")
    client.put_object(Bucket="archive", Key="scans/large.jpg", Body=photo(0) + bytes(20_000))
    client.put_object(Bucket="archive", Key="scans/empty.jpg", Body=b"")
    monkeypatch.setattr(stores, "MOST_BYTES", 10_000)
    result = score(model)
    assert result.coloured == 1
    assert "files of a store are read into memory" in result.quarantined["large.jpg"]
    assert set(result.quarantined) == {"large.jpg", "empty.jpg"}


def test_patterns(client: Any, model: Path) -> None:
    put(client, "scans/a.jpg", "scans/b.png", "scans/deep/er/c.jpg")
    assert score(model, f"{SOURCE}/**/*.jpg").coloured == 2


def test_the_listing_comes_page_by_page(client: Any, proxy: Proxy) -> None:
    for number in range(55):  # of which a page holds 50
        client.put_object(Bucket="archive", Key=f"many/{number:04}", Body=b"")
    before = proxy.asked
    listing = stores.open_store("s3://archive/many").files()
    assert next(listing).name == "0000"
    assert proxy.asked - before == 1
    assert sum(1 for _ in listing) == 54


def test_a_key_with_a_newline_is_kept_and_shown_in_one_line(
    client: Any, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # S3 holds such keys; moto's web server finds no object of that name.
    listed = [StoredFile(name, 100, "1", 1) for name in ("two\nlines.jpg", "good.jpg")]
    monkeypatch.setattr(stores.Store, "files", lambda *_: iter(listed))
    found = scoring.plan_scoring(SOURCE, make_settings(model, Path("out"), store=TARGET))
    assert [photo.name for photo in found.left] == ["good.jpg", "two\nlines.jpg"]
    assert r"two\nlines.jpg -> s3://coloured/all/two\nlines.png" in scoring.preview(found).splitlines()


def test_the_contact_sheet_shows_what_is_in_the_store(client: Any, model: Path) -> None:
    put(client, "scans/0.jpg", "scans/1.jpg")
    folder, store = mirror.resolve_output(TARGET)
    settings = make_settings(model, folder, store=store)
    score(model)
    photos = plan_store(SOURCE, settings).photos
    sheet = make_preview(photos, settings)
    assert sheet is not None
    assert sheet.startswith("data:image/jpeg")
    client.delete_object(Bucket="coloured", Key="all/0.png")
    assert make_preview(photos[:1], settings) is None


def test_an_object_of_a_killed_process_is_not_written_again(
    client: Any, proxy: Proxy, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(client, *(f"scans/{number}.jpg" for number in range(3)))
    score(model)
    # The rows are lost, and the objects are there: one of another photograph, one of nobody.
    for key in keys_of(client, "coloured"):
        if "/parts/" in key:
            client.delete_object(Bucket="coloured", Key=key)
    put(client, "scans/1.jpg", seed=9)
    client.put_object(Bucket="coloured", Key="all/2.png", Body=b"something")
    proxy.written.clear()
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "another"))
    assert score(model).coloured == 3
    written = {name for name in proxy.written if name.endswith(".png")}
    assert written == {"/coloured/all/1.png", "/coloured/all/2.png"}
    found = pictures(client)
    for row in manifest_of(client).to_dict("records"):
        data = found[f"all/{row['output']}"]
        assert (row["output_bytes"], row["output_sha256"]) == (len(data), hashlib.sha256(data).hexdigest())


def test_the_page_of_somebody_else_stays(client: Any, model: Path) -> None:
    put(client, "scans/0.jpg")
    client.put_object(Bucket="coloured", Key="all/index.html", Body=b"<h1>Our archive</h1>")
    assert any(f"{TARGET}/index.html is not by tintlab" in word for word in score(model).words)
    assert (
        client.get_object(Bucket="coloured", Key="all/index.html")["Body"].read() == b"<h1>Our archive</h1>"
    )
    client.delete_object(Bucket="coloured", Key="all/index.html")
    score(model, target="s3://coloured/other")
    sheet = client.get_object(Bucket="coloured", Key="other/index.html")["Body"].read().decode()
    assert "./0.png" in sheet
    assert "data:image/" in sheet


def test_other_hints_replace_an_object(client: Any, proxy: Proxy, tmp_path: Path) -> None:
    put(client, "scans/0.jpg", "scans/1.jpg")
    save_generator(
        tmp_path, build_generator(HINT_MODEL, pretrained=False), HINT_MODEL | {"fingerprint": "01"}
    )
    score(tmp_path)
    before = pictures(client)
    score(tmp_path, hints={"1.jpg": json.dumps([RED])})
    after = pictures(client)
    assert [key for key in after if after[key] != before[key]] == ["all/1.png"]


def test_a_model_is_fetched_once_and_checked(client: Any, proxy: Proxy, model: Path, tmp_path: Path) -> None:
    settings = share_model(make_settings(model, tmp_path, store=TARGET))
    folder = fetch_model(settings)
    assert folder != model
    assert file_hashes(folder) == file_hashes(model)
    proxy.fetched.clear()
    assert fetch_model(settings) == folder
    assert not proxy.fetched
    # A damaged copy on this machine is fetched again, one in the store is refused.
    (folder / "config.json").write_text("{}")
    fetch_model(settings)
    assert file_hashes(folder) == file_hashes(model)
    (key,) = [key for key in keys_of(client, "coloured") if key.endswith("config.json")]
    client.put_object(Bucket="coloured", Key=key, Body=b"{}")
    (folder / "config.json").unlink()
    with pytest.raises(TintlabError, match="has another sha256 than the model: delete it"):
        fetch_model(settings)
