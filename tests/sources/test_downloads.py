"""Against a real HTTP server, a real S3 server and Google's storage emulator, all on this machine."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.hostile.servers import Site, serving
from tests.sources.test_archives import noise, write_zip
from tintlab.sources import downloads, remote
from tintlab.sources import lock as sources_lock
from tintlab.sources.remote import Patience
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json
from tintlab.system.params import FetchParams, SourceParams, load_params

SHORT = Patience(seconds=1.5, attempts=3, pause=0.01)
PATH = "/set/photos.zip"
IN_FLIGHT = 700_000
"""Bytes that aiohttp may have had of a connection that broke, and not handed on."""


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder for each test, and no proxy between."""
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "state"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A zip of about four megabytes."""
    path = tmp_path_factory.mktemp("archive") / "photos.zip"
    return write_zip(path, {f"{number}.jpg": noise(number, 400_000) for number in range(20)}).read_bytes()


@pytest.fixture
def site(archive: bytes) -> Iterator[Site]:
    with serving(Site({PATH: archive})) as running:
        yield running


def of(*named: str, sha256: str | None = None, **limits: float) -> FetchParams:
    """Parameters with these sources."""
    listed = tuple(SourceParams(path=path, sha256=sha256) for path in named)
    return load_params().fetch.model_copy(update={"sources": listed} | limits)


def refused(params: FetchParams, lock: Any = None, act: Callable[..., object] = downloads.refresh) -> str:
    """The one line of a refusal, which leaves nothing behind."""
    with pytest.raises(TintlabError) as caught:
        act(params, lock or {}, SHORT)
    assert left() == []
    message = str(caught.value)
    assert "\n" not in message
    return message


def left() -> list[str]:
    """The files of the copies' folder."""
    return sorted(path.name for path in paths.source_copies().rglob("*") if path.is_file())


def copy_in(lock: dict[str, Any], url: str) -> bytes:
    return sources_lock.locate_source(SourceParams(path=url), lock).read_bytes()


# --- as it should be


def test_what_a_url_names_is_copied_and_recorded(site: Site, archive: bytes) -> None:
    url = site.url(PATH)
    lock = downloads.refresh(of(url), {}, SHORT)
    assert copy_in(lock, url) == archive
    assert lock[url]["size"] == len(archive)
    assert lock[url]["etag"].startswith('"')
    assert left() == ["photos.zip"]


def test_what_has_not_changed_is_not_copied_again(site: Site) -> None:
    lock = downloads.refresh(of(site.url(PATH)), {}, SHORT)
    asked = len(site.asked)
    assert downloads.refresh(of(site.url(PATH)), lock, SHORT) == lock
    assert len(site.asked) == asked + 1  # answered with 304
    site.files[PATH] = site.files[PATH] + b"comment"
    assert downloads.refresh(of(site.url(PATH)), lock, SHORT) != lock


@pytest.mark.parametrize("cuts", [[2_000_000], [1_000_000, 0, 2_000_000, 500_000], [4_000_000]])
def test_guard_a_download_that_is_cut_goes_on_where_it_stopped(
    site: Site, archive: bytes, cuts: list[int]
) -> None:
    site.cuts = list(cuts)
    lock = downloads.refresh(of(site.url(PATH)), {}, SHORT)
    assert copy_in(lock, site.url(PATH)) == archive
    assert len(site.asked) == len(cuts) + 1
    place = 0
    for cut, (_, _, wanted, _) in zip(cuts, site.asked[1:], strict=True):
        asked = int(str(wanted).removeprefix("bytes=")[:-1])
        assert place + cut - IN_FLIGHT <= asked <= place + cut
        place = asked


def test_a_download_goes_on_in_another_process(site: Site, archive: bytes) -> None:
    site.cuts = [3_000_000, 0, 0, 0]
    with pytest.raises(TintlabError, match="what has come is kept, run it again"):
        downloads.refresh(of(site.url(PATH)), {}, SHORT)
    downloads.refresh(of(site.url(PATH)), {}, SHORT)
    assert 3_000_000 - IN_FLIGHT <= int(str(site.asked[-1][2])[6:-1]) <= 3_000_000
    assert left() == ["photos.zip"]


def test_without_ranges_and_etags_it_starts_anew(site: Site, archive: bytes) -> None:
    site.etags, site.cuts = False, [3_000_000]
    lock = downloads.refresh(of(site.url(PATH)), {}, SHORT)
    assert copy_in(lock, site.url(PATH)) == archive
    assert "etag" not in lock[site.url(PATH)]
    assert [wanted for _, _, wanted, _ in site.asked] == [None, None]


def test_a_file_that_changes_between_attempts_is_not_mixed(site: Site, tmp_path: Path) -> None:
    site.cuts = [3_000_000, 0, 0, 0]
    with pytest.raises(TintlabError):
        downloads.refresh(of(site.url(PATH)), {}, SHORT)
    site.files[PATH] = write_zip(tmp_path / "new.zip", {"1.jpg": noise(1, 7_000_000)}).read_bytes()
    lock = downloads.refresh(of(site.url(PATH)), {}, SHORT)
    assert copy_in(lock, site.url(PATH)) == site.files[PATH]


def test_servers_that_are_busy_for_a_moment_are_asked_again(site: Site, archive: bytes) -> None:
    site.statuses = [503, 429]
    lock = downloads.refresh(of(site.url(PATH)), {}, SHORT)
    assert copy_in(lock, site.url(PATH)) == archive


def test_redirects_on_the_same_host_are_followed(site: Site, archive: bytes) -> None:
    site.redirects = {"/latest.zip": "/hop", "/hop": site.url(PATH) + "?X-Amz-Signature=secret"}
    lock = downloads.refresh(of(site.url("/latest.zip")), {}, SHORT)
    assert copy_in(lock, site.url("/latest.zip")) == archive
    assert "secret" not in str(lock)


def test_the_sha256_of_params_is_heeded(site: Site, archive: bytes, tmp_path: Path) -> None:
    right = sources_lock.compute_digest(write_bytes(tmp_path / "copy", archive))
    assert downloads.refresh(of(site.url(PATH), sha256=right), {}, SHORT)


def write_bytes(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_credentials_come_from_netrc(site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = write_bytes(tmp_path / "netrc", b"machine 127.0.0.1 login ann password hidden\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    lock = downloads.refresh(of(site.url(PATH)), {}, SHORT)
    assert {authorization for *_, authorization in site.asked} == {"Basic YW5uOmhpZGRlbg=="}
    assert "hidden" not in str(lock)


def test_pull_copies_what_is_recorded_and_no_more(site: Site, archive: bytes) -> None:
    lock = downloads.refresh(of(site.url(PATH)), {}, SHORT)
    assert downloads.pull(of(site.url(PATH)), lock, SHORT) == []
    sources_lock.locate_source(SourceParams(path=site.url(PATH)), lock).unlink()
    assert downloads.pull(of(site.url(PATH)), lock, SHORT) == [site.url(PATH)]
    assert copy_in(lock, site.url(PATH)) == archive


# --- as it should not be


def test_guard_a_server_that_cuts_again_and_again(site: Site) -> None:
    site.etags, site.cuts = False, [9, 9, 9, 9, 9]
    assert "can't be copied" in refused(of(site.url(PATH)))
    assert len(site.asked) == SHORT.attempts


def test_guard_a_server_that_stalls(site: Site) -> None:
    site.etags, site.stalls = False, [9, 9, 9]
    assert "the server sends nothing" in refused(of(site.url(PATH)))


def test_guard_a_server_that_drips(site: Site) -> None:
    site.etags, site.seconds_a_byte = False, 0.05
    assert "hardly sends anything" in refused(of(site.url(PATH)))


@pytest.mark.parametrize(
    "target", ["file:///etc/passwd", "ftp://127.0.0.1/a.zip", "gopher://x/y", "data:,x", "s3://b/k"]
)
def test_guard_redirects_to_other_schemes(site: Site, target: str) -> None:
    site.redirects = {PATH: target}
    assert f"redirects to {target.partition(':')[0]!r}: refused" in refused(of(site.url(PATH)))


@pytest.mark.parametrize("host", ["127.0.0.2", "localhost", "0.0.0.0"])
def test_guard_redirects_to_a_private_address(site: Site, archive: bytes, host: str) -> None:
    with serving(Site({PATH: archive}), "127.0.0.2") as inner, serving(Site(redirects={PATH: ""})) as public:
        # What the URL itself names is the user's choice; another private address is not.
        port = inner.address.rpartition(":")[2] if host == "127.0.0.2" else site.address.rpartition(":")[2]
        public.redirects[PATH] = f"http://{host}:{port}{PATH}"
        if host == "localhost":  # is the very address that was named
            assert downloads.refresh(of(public.url(PATH)), {}, SHORT)
            return
        assert "redirects to a private address" in refused(of(public.url(PATH)))
        assert inner.asked == []


@pytest.mark.parametrize(
    "address",
    ["10.0.0.1", "192.168.1.1", "172.16.0.1", "127.0.0.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "::1",
     "::", "fe80::1", "fc00::1", "::ffff:127.0.0.1", "2002:7f00:1::", "224.0.0.1", "255.255.255.255"],
)  # fmt: skip
def test_guard_which_addresses_are_private(address: str) -> None:
    guard = remote.AddressGuard("http://203.0.113.7/a.zip")
    with pytest.raises(PermissionError):
        guard.socket((2, 1, 6, "", (address, 80)))


@pytest.mark.parametrize("address", ["8.8.8.8", "2001:4860:4860::8888"])
def test_public_addresses_may_be_redirected_to(address: str) -> None:
    family = 10 if ":" in address else 2
    remote.AddressGuard("http://203.0.113.7/a.zip").socket((family, 1, 6, "", (address, 80))).close()


def test_guard_redirects_without_end(site: Site) -> None:
    site.redirects = {PATH: PATH}
    assert "redirects again and again" in refused(of(site.url(PATH)))
    assert len(site.asked) < 10


def test_guard_other_bytes_than_params_expect(site: Site) -> None:
    message = refused(of(site.url(PATH), sha256="0" * 64))
    assert f"params.yaml expects {'0' * 64}" in message


def test_guard_other_bytes_than_were_recorded(site: Site, tmp_path: Path) -> None:
    lock = downloads.refresh(of(site.url(PATH)), {}, SHORT)
    sources_lock.locate_source(SourceParams(path=site.url(PATH)), lock).unlink()
    site.files[PATH] = write_zip(tmp_path / "new.zip", {"other.jpg": b"1"}).read_bytes()
    assert "has sha256" in refused(of(site.url(PATH)), lock, downloads.pull)


def test_guard_a_page_in_place_of_an_archive(site: Site) -> None:
    site.files[PATH] = b"<html>Please log in</html>"
    assert "is no zip or tar archive" in refused(of(site.url(PATH)))


@pytest.mark.parametrize("lengths", [True, False])
def test_guard_more_than_the_limit(site: Site, archive: bytes, lengths: bool) -> None:
    site.lengths, site.endless = lengths, 0 if lengths else 90_000_000
    assert "larger than fetch.max_gigabytes" in refused(of(site.url(PATH), max_gigabytes=2e-3))


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_refusals_of_the_server_are_not_repeated(site: Site, status: int) -> None:
    site.statuses = [status] * 9
    assert str(status) in refused(of(site.url(PATH)))
    assert len(site.asked) == 1


def test_nobody_there() -> None:
    assert "can't be copied" in refused(of("http://127.0.0.1:9/photos.zip"))


def test_a_redirect_s_signature_is_in_no_message(site: Site) -> None:
    site.redirects = {PATH: "/gone.zip?X-Amz-Signature=very-secret"}
    assert "very-secret" not in refused(of(site.url(PATH)))


# --- stores


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The endpoint of moto's S3 server."""
    server = pytest.importorskip("moto.server", reason="moto is not installed").ThreadedMotoServer(
        "127.0.0.1", 0, verbose=False
    )
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def bucket(s3: str, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A bucket with the archive; credentials and endpoint by the environment, as people give them."""
    import boto3

    settings = {
        "AWS_ENDPOINT_URL": s3, "AWS_ACCESS_KEY_ID": "ann", "AWS_SECRET_ACCESS_KEY": "hidden",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
    }  # fmt: skip
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    client = boto3.client("s3")
    client.create_bucket(Bucket="scans")
    client.put_object(Bucket="scans", Key="set/photos.zip", Body=archive)
    return client


def test_s3(bucket: Any, archive: bytes) -> None:
    url = "s3://scans/set/photos.zip"
    lock = downloads.refresh(of(url), {}, SHORT)
    assert copy_in(lock, url) == archive
    assert lock[url]["etag"] == bucket.head_object(Bucket="scans", Key="set/photos.zip")["ETag"]
    before = sources_lock.locate_source(SourceParams(path=url), lock).stat().st_mtime_ns
    assert downloads.refresh(of(url), lock, SHORT) == lock
    assert sources_lock.locate_source(SourceParams(path=url), lock).stat().st_mtime_ns == before
    assert "hidden" not in str(lock)


def test_s3_goes_on_where_it_stopped(bucket: Any, archive: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    url, asked, cat_file = "s3://scans/set/photos.zip", [], s3fs.S3FileSystem.cat_file
    monkeypatch.setattr(remote, "_CHUNK", 1_000_000)

    def failing(self: Any, path: str, start: int, end: int) -> Any:
        asked.append(start)
        if len(asked) == 3:
            raise ConnectionResetError(104, "Connection reset by peer")
        return cat_file(self, path, start=start, end=end)

    monkeypatch.setattr(s3fs.S3FileSystem, "cat_file", failing)
    assert copy_in(downloads.refresh(of(url), {}, SHORT), url) == archive
    assert asked[:4] == [0, 1_000_000, 2_000_000, 2_000_000]


def test_s3_that_is_not_there_or_not_ours(bucket: Any) -> None:
    assert "is not there" in refused(of("s3://scans/other.zip"))
    bucket.put_object(Bucket="scans", Key="page.zip", Body=b"<html>")
    assert "is no zip or tar archive" in refused(of("s3://scans/page.zip"))


@pytest.fixture
def gcs(archive: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Google's storage, emulated on this machine, with the archive in a bucket."""
    emulator = pytest.importorskip(
        "gcp_storage_emulator.server", reason="gcp-storage-emulator is not installed"
    )
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="scans")
    server.start()
    address = "http://127.0.0.1:%d" % server._api._httpd.server_port  # noqa: UP031
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    place = f"{address}/upload/storage/v1/b/scans/o?uploadType=media&name=set%2Fphotos.zip"
    requests.post(place, data=archive, timeout=60).raise_for_status()
    yield
    server.stop()


def test_gs(gcs: None, archive: bytes) -> None:
    url = "gs://scans/set/photos.zip"
    lock = downloads.refresh(of(url), {}, SHORT)
    assert copy_in(lock, url) == archive
    assert lock[url]["etag"]
    with pytest.raises(TintlabError, match="is not there"):
        downloads.refresh(of("gs://scans/no.zip"), {}, SHORT)


# --- the commands


def test_refresh_and_pull_as_commands_then_fetch_off_the_network(
    site: Site, tmp_path: Path, repository: Path, own_state: Path
) -> None:
    (tmp_path / "data").mkdir()
    text = (
        (repository / "params.yaml")
        .read_text()
        .replace("sources: []", f"sources: [{{path: '{site.url(PATH)}'}}]")
    )
    (tmp_path / "params.yaml").write_text(text.replace("starter: true", "starter: false"))

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    ended = run("-m", "tintlab.cli", "sources", "refresh")
    assert ended.returncode == 0, ended.stderr
    assert list(read_json(tmp_path / "data/sources.lock.json")) == [site.url(PATH)]
    asked = len(site.asked)
    (tmp_path / "data/inbox").mkdir()
    deaf = (
        "import sys\n"
        "def hook(event, arguments):\n"
        "    if event in ('socket.connect', 'socket.getaddrinfo'): sys.exit(f'{event} {arguments}')\n"
        "sys.addaudithook(hook)\n"
        "from tintlab.stages.fetch import main\n"
        "from tintlab.system import entry_point\n"
        "entry_point.run(main)\n"
    )
    ended = run("-c", deaf)
    # The members are noise: it has read them, and says so.
    assert "20 files can't be read as photographs" in ended.stderr
    assert len(site.asked) == asked
    for copy in own_state.rglob("photos.zip"):
        copy.unlink()
    assert run("-c", deaf).stderr.strip().splitlines()[-1] == (
        f"error: source {site.url(PATH)} is not on this machine: run `tintlab sources pull`, which copies it"
    )
    assert run("-m", "tintlab.cli", "sources", "pull").stdout == "copied 1 archives\n"
    assert "20 files" in run("-c", deaf).stderr
    assert os.environ["TINTLAB_STATE"] == str(own_state)
