"""The fetch stage against a real server that misbehaves: what is kept, what is tried again, what is said."""

import hashlib
import os
import random
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

import pytest
from urllib3 import BaseHTTPResponse

from difyoff.difypkg.diagnosis import DifyoffError, Exit
from difyoff.transfer.client import Client
from difyoff.transfer.fetch import Download, Fetched, Progress, fetch, sizes
from difyoff.transfer.receive import Remote, receive
from difyoff.transfer.store import WheelStore
from kit import faulty
from kit.faulty import Fault, FileServer, Proxy, Stall, file_server, redirect, serving

BODY = random.Random(1).randbytes(300_000)
PATH = "/files/demo-1.0-py3-none-any.whl"


@pytest.fixture(autouse=True)
def _system_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "SSL_CLIENT_CERT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as server:
        server.files[PATH] = BODY
        yield server


@pytest.fixture
def store(tmp_path: Path) -> WheelStore:
    return WheelStore(tmp_path / "store")


@pytest.fixture
def client() -> Iterator[Client]:
    client = Client(version="1.2.3")
    yield client
    client.close()


def wheel(url: str, body: bytes = BODY, *, size: int | None = -1, algorithm: str = "sha256") -> Download:
    return Download(
        url=url,
        filename=PurePosixPath(urlsplit(url).path).name,
        hashes={algorithm: hashlib.new(algorithm, body).hexdigest()},
        size=len(body) if size == -1 else size,
    )


def fetched(store: WheelStore, client: Client, download: Download) -> bytes:
    """Fetch one file and return what the store has of it."""
    (result,) = fetch([download], store, client)
    assert result.size == store.path(result.sha256).stat().st_size
    return store.path(result.sha256).read_bytes()


def refused(store: WheelStore, client: Client, *downloads: Download) -> DifyoffError:
    with pytest.raises(DifyoffError) as raised:
        fetch(downloads, store, client)
    return raised.value


def in_store(store: WheelStore) -> set[str]:
    return {path.name for path in store.root.glob("sha256/*/*")}


def partials(store: WheelStore) -> list[int]:
    return [path.stat().st_size for path in store.root.glob("partial/*")]


def ranges(server: FileServer) -> list[str | None]:
    return [request.headers.get("Range") for request in server.requests]


def wait_for(condition: Callable[[], bool]) -> None:
    """Return when a condition has come true; the test's time limit ends a vain wait."""
    while not condition():
        time.sleep(0.01)


def test_a_cold_store_is_filled_and_a_warm_one_asks_nobody(
    server: FileServer, store: WheelStore, client: Client
) -> None:
    bodies = {f"/{number}.whl": random.Random(number).randbytes(number * 10_000 + 1) for number in range(30)}
    server.files.update(bodies)
    downloads = [wheel(server.url(path), body) for path, body in bodies.items()]
    seen: list[Progress] = []

    cold = fetch([*downloads, downloads[0]], store, client, jobs=4, on_progress=seen.append)

    assert [each.download for each in cold] == [*downloads, downloads[0]]
    assert not any(each.from_store for each in cold)
    assert [store.path(each.sha256).read_bytes() for each in cold[:-1]] == list(bodies.values())
    total = sum(map(len, bodies.values()))
    assert seen[-1] == Progress(files=30, finished=30, received=total, total=total)
    assert len(server.requests) == 30
    assert len({request.client for request in server.requests}) <= 4  # connections are used again
    assert {request.headers["User-Agent"] for request in server.requests} == {"difyoff/1.2.3"}
    assert {request.headers["Accept-Encoding"] for request in server.requests} == {"identity"}
    assert partials(store) == []

    server.requests.clear()
    warm = fetch(downloads, store, client, on_progress=seen.append)
    assert all(each.from_store for each in warm)
    assert server.requests == []
    assert seen[-1] == Progress(files=30, finished=30, received=0, total=0)


@pytest.mark.parametrize("algorithm", ["sha512", "md5", "blake2b"])
def test_other_hashes_are_checked_too(server: FileServer, store: WheelStore, client: Client, algorithm: str) -> None:
    assert fetched(store, client, wheel(server.url(PATH), algorithm=algorithm)) == BODY
    assert in_store(store) == {hashlib.sha256(BODY).hexdigest()}
    assert refused(store, client, wheel(server.url(PATH), BODY[:-1] + b"?", algorithm=algorithm)).diagnosis.slug == (
        "hash-mismatch"
    )


def test_a_hash_in_capitals_is_the_same_hash(server: FileServer, store: WheelStore, client: Client) -> None:
    digest = hashlib.sha256(BODY).hexdigest().upper()
    assert (
        fetched(store, client, Download(url=server.url(PATH), filename="demo.whl", hashes={"SHA256": digest})) == BODY
    )


def test_a_file_without_any_known_hash_is_not_accepted(server: FileServer, store: WheelStore, client: Client) -> None:
    with pytest.raises(ValueError, match=r"demo\.whl"):
        fetch([Download(url=server.url(PATH), filename="demo.whl", hashes={"crc32": "00"})], store, client)


def retry_at_once() -> Fault:
    return faulty.status(429, Retry_After=format_datetime(datetime.now(UTC), usegmt=True))


@pytest.mark.parametrize(
    ("faults", "resumed"),
    [
        pytest.param([faulty.reset(100_000)], True, id="reset"),
        pytest.param([faulty.short(100_000)], True, id="short body"),
        pytest.param([faulty.short(0)], False, id="no body"),
        pytest.param([faulty.status(503), faulty.status(503)], False, id="503 twice"),
        pytest.param([faulty.status(429, Retry_After="0")], False, id="429"),
        pytest.param([retry_at_once()], False, id="429 with a date"),
        pytest.param([faulty.short(1000), faulty.range_ignored], True, id="range ignored"),
        pytest.param([faulty.short(1000), faulty.range_from(500)], True, id="range from another offset"),
        pytest.param([faulty.short(1000), faulty.range_from(0)], True, id="range from the start"),
        pytest.param([faulty.short(1000), faulty.status(206)], True, id="206 that does not say of what"),
        pytest.param([faulty.short(1000), faulty.status(416)], True, id="range refused"),
    ],
)
@pytest.mark.parametrize("size", [len(BODY), None])
def test_what_is_worth_it_is_tried_again(
    server: FileServer, store: WheelStore, client: Client, faults: list[Fault], resumed: bool, size: int | None
) -> None:
    server.faults[PATH] = list(faults)
    assert fetched(store, client, wheel(server.url(PATH), size=size)) == BODY
    assert any(ranges(server)) == resumed
    assert partials(store) == []


def test_a_short_body_without_a_declared_length_is_seen_by_the_locks_size(
    server: FileServer, store: WheelStore, client: Client
) -> None:
    server.faults[PATH] = [faulty.short(100_000, declared=False)]
    assert fetched(store, client, wheel(server.url(PATH))) == BODY
    assert ranges(server) == [None, "bytes=100000-"]


def test_a_short_body_of_which_nobody_knows_the_length_is_fetched_again(
    server: FileServer, store: WheelStore, client: Client
) -> None:
    server.faults[PATH] = [faulty.short(100_000, declared=False), faulty.short(10, declared=False)]
    assert fetched(store, client, wheel(server.url(PATH), size=None)) == BODY
    assert partials(store) == []


def test_a_server_that_ignores_ranges_is_not_asked_twice(server: FileServer, store: WheelStore, client: Client) -> None:
    server.faults[PATH] = [faulty.short(1000), faulty.range_ignored]
    assert fetched(store, client, wheel(server.url(PATH))) == BODY
    assert ranges(server) == [None, "bytes=1000-"]


def test_a_file_that_changes_between_tries_is_fetched_again_in_one_piece(
    server: FileServer, store: WheelStore, client: Client
) -> None:
    server.faults[PATH] = [lambda handler, body: faulty.short(1000)(handler, b"?" * len(body))]
    assert fetched(store, client, wheel(server.url(PATH))) == BODY
    assert ranges(server) == [None, "bytes=1000-", None]


def test_a_broken_off_download_is_resumed_by_the_next_run(
    server: FileServer, store: WheelStore, client: Client
) -> None:
    server.faults[PATH] = [faulty.short(100_000), faulty.status(404)]
    assert refused(store, client, wheel(server.url(PATH))).diagnosis.slug == "file-not-on-index"
    assert partials(store) == [100_000]
    assert in_store(store) == set()
    server.requests.clear()
    assert fetched(store, client, wheel(server.url(PATH))) == BODY
    assert ranges(server) == ["bytes=100000-"]


def test_a_complete_partial_file_needs_no_network(server: FileServer, store: WheelStore, client: Client) -> None:
    download = wheel(server.url(PATH))
    with store.partial(download.key) as part:
        part.write(BODY)
    assert fetched(store, client, download) == BODY
    assert server.requests == []


@pytest.mark.parametrize("left", [b"?" * 1000, b"?" * len(BODY), BODY + b"?"], ids=["short", "whole", "long"])
def test_a_bad_partial_file_is_not_held_against_the_index(
    server: FileServer, store: WheelStore, client: Client, left: bytes
) -> None:
    download = wheel(server.url(PATH))
    with store.partial(download.key) as part:
        part.write(left)
    assert fetched(store, client, download) == BODY


@pytest.mark.parametrize("headers", [{"Content-Encoding": "gzip"}, {"Transfer-Encoding": "chunked"}], ids=str)
def test_the_bytes_are_taken_as_they_are(
    server: FileServer, store: WheelStore, client: Client, headers: dict[str, str]
) -> None:
    def answer(handler: faulty.Handler, body: bytes) -> None:
        if "Transfer-Encoding" in headers:
            pieces = (body[start : start + 70_000] for start in range(0, len(body), 70_000))
            coded = b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in [*pieces, b""])
            handler.answer(200, coded, headers, length=None)
        else:
            handler.answer(200, body, headers)

    server.faults[PATH] = [answer]
    assert fetched(store, client, wheel(server.url(PATH))) == BODY
    assert len(server.requests) == 1


def test_wrong_bytes_are_refused_and_nothing_is_kept(server: FileServer, store: WheelStore, client: Client) -> None:
    server.files[PATH] = b"?" + BODY[1:]
    error = refused(store, client, wheel(server.url(PATH)))
    assert (error.diagnosis.slug, error.exit_code) == ("hash-mismatch", Exit.NO)
    assert any(hashlib.sha256(BODY).hexdigest() in line for line in error.diagnosis.context)
    assert len(server.requests) == 1
    assert in_store(store) == set()
    assert partials(store) == []


@pytest.mark.parametrize("length", [10, len(BODY) * 3])
def test_another_size_is_refused(server: FileServer, store: WheelStore, client: Client, length: int) -> None:
    server.files[PATH] = b"?" * length
    error = refused(store, client, wheel(server.url(PATH)))
    assert (error.diagnosis.slug, error.exit_code) == ("size-mismatch", Exit.NO)
    assert len(server.requests) == 1
    assert partials(store) == []


@pytest.mark.parametrize("size", [len(BODY), None])
def test_a_login_page_in_the_wheels_place_is_called_one(
    server: FileServer, store: WheelStore, client: Client, size: int | None
) -> None:
    server.files[PATH] = b"\n<!DOCTYPE html><title>Please log in</title>"
    diagnosis = refused(store, client, wheel(server.url(PATH), size=size)).diagnosis
    assert diagnosis.slug == ("size-mismatch" if size else "hash-mismatch")
    assert "web page" in (diagnosis.note or "")


def test_a_length_beyond_every_disk_is_not_begun(server: FileServer, store: WheelStore, client: Client) -> None:
    server.faults[PATH] = [lambda handler, body: handler.answer(200, body, length=10**18)]
    assert refused(store, client, wheel(server.url(PATH), size=None)).diagnosis.slug == "disk-full"


def test_a_size_beyond_every_disk_is_not_asked_for(server: FileServer, store: WheelStore, client: Client) -> None:
    error = refused(store, client, wheel(server.url(PATH), size=10**18))
    assert (error.diagnosis.slug, error.exit_code) == ("disk-full", Exit.MACHINE)
    assert f"{10**18:,}" in error.diagnosis.message
    assert server.requests == []


@pytest.mark.parametrize(
    ("code", "slug", "exit_code"),
    [
        (404, "file-not-on-index", Exit.NO),
        (410, "file-not-on-index", Exit.NO),
        (451, "file-not-on-index", Exit.NO),
        (401, "index-unauthorised", Exit.NETWORK),
        (403, "index-unauthorised", Exit.NETWORK),
        (407, "index-unauthorised", Exit.NETWORK),
    ],
)
def test_a_refusal_is_final(
    server: FileServer, store: WheelStore, client: Client, code: int, slug: str, exit_code: Exit
) -> None:
    server.faults[PATH] = [faulty.status(code)]
    error = refused(store, client, wheel(server.url(PATH)))
    assert (error.diagnosis.slug, error.exit_code) == (slug, exit_code)
    assert len(server.requests) == 1


def test_tries_have_an_end(server: FileServer, store: WheelStore, client: Client) -> None:
    server.faults[PATH] = [faulty.status(429, Retry_After="0")] * 99
    error = refused(store, client, wheel(server.url(PATH)))
    assert (error.diagnosis.slug, error.exit_code) == ("index-unreachable", Exit.NETWORK)
    assert f"{len(server.requests)} tries: HTTP 429" in error.diagnosis.message


def test_nobody_listens(store: WheelStore, client: Client) -> None:
    with file_server() as gone:
        url = gone.url(PATH)
    diagnosis = refused(store, client, wheel(url)).diagnosis
    assert diagnosis.slug == "index-unreachable"
    assert "refused" in diagnosis.message


def test_a_name_that_does_not_resolve(store: WheelStore, client: Client) -> None:
    diagnosis = refused(store, client, wheel("http://files.invalid/a.whl")).diagnosis
    assert diagnosis.slug == "index-unreachable"
    assert "files.invalid does not resolve" in diagnosis.message


def test_the_first_error_ends_the_rest(server: FileServer, store: WheelStore, client: Client) -> None:
    stalled, half = wheel(server.url(PATH)), len(BODY) // 2
    stall = Stall()
    server.faults[PATH] = [stall]

    def gone(handler: faulty.Handler, body: bytes) -> None:
        wait_for(lambda: store.begun(stalled.key) == half)
        handler.answer(404, b"")

    server.faults["/gone.whl"] = [gone]
    error = refused(store, client, stalled, wheel(server.url("/gone.whl"), BODY[:-1]))
    assert error.diagnosis.slug == "file-not-on-index"
    assert in_store(store) == set()
    # The server is still silent, but our thread has let go of the partial file.
    assert fetched(store, client, stalled) == BODY
    assert ranges(server)[-1] == f"bytes={half}-"
    stall.release.set()


# Credentials


@pytest.mark.parametrize("way", ["url", "mapping", "netrc"])
def test_credentials_reach_their_origin(
    server: FileServer, store: WheelStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    server.users = {"mé:p@ss"}
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login mé password p@ss\n", encoding="utf-8")
    if way == "netrc":
        monkeypatch.setenv("NETRC", str(netrc))
    client = Client(version="1", credentials={server.url("/simple/"): ("mé", "p@ss")} if way == "mapping" else {})
    url = server.url(PATH, user="m%C3%A9:p%40ss" if way == "url" else "")
    assert fetched(store, client, wheel(url)) == BODY
    client.close()


def test_credentials_are_not_printed(server: FileServer, store: WheelStore, client: Client) -> None:
    for status in (401, 404):
        server.faults[PATH] = [faulty.status(status)]
        error = refused(store, client, wheel(server.url(f"{PATH}", user="me:hush") + "?token=hush#hush"))
        assert "hush" not in repr(error.diagnosis)
    server.files[PATH + "?token=hush"] = b"wrong"
    assert "hush" not in repr(refused(store, client, wheel(server.url(PATH + "?token=hush", user="me:hush"))).diagnosis)


def test_credentials_do_not_follow_a_redirect_to_another_origin(
    server: FileServer, store: WheelStore, client: Client
) -> None:
    with file_server() as other:
        other.files[PATH] = BODY
        server.faults[PATH] = [faulty.redirect(other.url(PATH))]
        assert fetched(store, client, wheel(server.url(PATH, user="me:hush"))) == BODY
        assert "Authorization" in server.requests[0].headers
        assert "Authorization" not in other.requests[0].headers


def test_credentials_follow_a_redirect_within_their_origin(
    server: FileServer, store: WheelStore, client: Client
) -> None:
    server.users = {"me:hush"}
    server.faults["/old.whl"] = [faulty.redirect(PATH)]
    assert fetched(store, client, wheel(server.url("/old.whl", user="me:hush"))) == BODY


@pytest.mark.parametrize(
    "location", ["file:///etc/passwd", "ftp://127.0.0.1/a.whl", "http://[", "http://127.0.0.1:x/", "LOOP"]
)
def test_an_unsafe_redirect_is_not_followed(
    server: FileServer, store: WheelStore, client: Client, location: str
) -> None:
    server.faults[PATH] = [faulty.redirect(server.url(PATH) if location == "LOOP" else location)] * 99
    assert refused(store, client, wheel(server.url(PATH))).diagnosis.slug == "unsafe-redirect"


# TLS and proxies


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    folder = tmp_path_factory.mktemp("tls")
    return faulty.server_context(folder), folder / "ca.pem"


@pytest.fixture
def secure(tls: tuple[ssl.SSLContext, Path]) -> Iterator[FileServer]:
    with file_server(tls[0]) as server:
        server.files[PATH] = BODY
        yield server


def test_a_company_authority_is_trusted_when_named(
    secure: FileServer,
    tls: tuple[ssl.SSLContext, Path],
    store: WheelStore,
    client: Client,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tls[1]))
    assert fetched(store, client, wheel(secure.url(PATH))) == BODY


def test_an_unknown_authority_is_refused_at_once(secure: FileServer, store: WheelStore, client: Client) -> None:
    error = refused(store, client, wheel(secure.url(PATH)))
    assert (error.diagnosis.slug, error.exit_code) == ("tls-failed", Exit.NETWORK)
    assert "SSL_CERT_FILE" in (error.diagnosis.hint or "")
    assert secure.requests == []


def test_an_insecure_host_is_the_users_choice(secure: FileServer, store: WheelStore) -> None:
    client = Client(version="1", insecure_hosts=["127.0.0.1"])
    assert fetched(store, client, wheel(secure.url(PATH))) == BODY
    client.close()


def test_a_certificate_file_that_is_not_there_is_said(
    secure: FileServer, store: WheelStore, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "no.pem"))
    diagnosis = refused(store, client, wheel(secure.url(PATH))).diagnosis
    assert diagnosis.slug == "tls-failed"
    assert diagnosis.context == (f"SSL_CERT_FILE={tmp_path / 'no.pem'}",)


def test_https_never_becomes_http(secure: FileServer, server: FileServer, store: WheelStore) -> None:
    secure.faults[PATH] = [faulty.redirect(server.url(PATH))]
    client = Client(version="1", insecure_hosts=["127.0.0.1"])
    assert refused(store, client, wheel(secure.url(PATH))).diagnosis.slug == "unsafe-redirect"
    assert server.requests == []
    client.close()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("name", ["{}_proxy", "{}_PROXY", "all_proxy", "ALL_PROXY"])
def test_a_proxy_is_used_with_its_credentials(
    server: FileServer, secure: FileServer, store: WheelStore, scheme: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = secure if scheme == "https" else server
    with serving(proxy := Proxy("me:p@ss")):
        variable = name.format(scheme if name.islower() else scheme.upper())
        monkeypatch.setenv(variable, f"http://me:p%40ss@{proxy.host}")
        client = Client(version="1", insecure_hosts=["127.0.0.1"])
        assert fetched(store, client, wheel(target.url(PATH))) == BODY
        client.close()
    assert len(proxy.requests) == len(target.requests) == 1
    assert "Proxy-Authorization" not in target.requests[0].headers


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_wants_other_credentials(
    server: FileServer, secure: FileServer, store: WheelStore, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving(proxy := Proxy("me:hush")):
        monkeypatch.setenv(f"{scheme}_proxy", f"http://me:wrong-word@{proxy.host}")
        client = Client(version="1", insecure_hosts=["127.0.0.1"])
        url = (secure if scheme == "https" else server).url(PATH)
        diagnosis = refused(store, client, wheel(url)).diagnosis
        client.close()
    assert diagnosis.slug == "index-unauthorised"
    assert "407" in diagnosis.message
    assert "wrong-word" not in repr(diagnosis)
    assert len(proxy.requests) == 1


def test_no_proxy_goes_straight(
    server: FileServer, store: WheelStore, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.invalid:3128")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1,index.example")
    assert fetched(store, client, wheel(server.url(PATH))) == BODY


def test_an_unknown_kind_of_proxy_is_said(
    server: FileServer, store: WheelStore, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALL_PROXY", "socks5://me:hush@127.0.0.1:1")
    diagnosis = refused(store, client, wheel(server.url(PATH))).diagnosis
    assert diagnosis.slug == "index-unreachable"
    assert "socks5" in diagnosis.message
    assert "hush" not in repr(diagnosis)


# Files without a server


@pytest.mark.parametrize("as_url", [True, False])
def test_files_of_this_machine(store: WheelStore, client: Client, tmp_path: Path, as_url: bool) -> None:
    path = tmp_path / "a b#%20.whl"
    path.write_bytes(BODY)
    assert fetched(store, client, wheel(path.as_uri() if as_url else str(path))) == BODY
    path.unlink()
    missing = wheel(path.as_uri() if as_url else str(path), BODY[1:])
    assert refused(store, client, missing).diagnosis.slug == "file-not-on-index"
    assert sizes([missing], client) == (len(BODY) - 1,)


def test_a_wrong_file_of_this_machine_is_refused(store: WheelStore, client: Client, tmp_path: Path) -> None:
    path = tmp_path / "a.whl"
    path.write_bytes(BODY[1:] + b"?")
    assert refused(store, client, wheel(str(path))).diagnosis.slug == "hash-mismatch"
    assert in_store(store) == set()


def test_sizes_are_asked_of_the_server(server: FileServer, client: Client, tmp_path: Path) -> None:
    (tmp_path / "local.whl").write_bytes(b"12345")
    server.faults["/mute.whl"] = [lambda handler, body: handler.answer(200, b"", length=None)]
    asked = [server.url(PATH), server.url("/missing.whl"), server.url("/mute.whl"), str(tmp_path / "local.whl")]
    known = wheel(server.url("/known.whl"), size=7)
    found = sizes([known, *(wheel(url, size=None) for url in asked)], client)
    assert found == (7, len(BODY), None, None, 5)
    assert {request.method for request in server.requests} == {"HEAD"}
    assert "/known.whl" not in {request.path for request in server.requests}


# Interruptions, company, full disks


_CHILD = """
import sys
from pathlib import Path
from difyoff.transfer.fetch import Download, fetch
from difyoff.transfer.client import Client
from difyoff.transfer.store import WheelStore
url, sha256, root = sys.argv[1:]
download = Download(url=url, filename="demo.whl", hashes={"sha256": sha256})
try:
    fetch([download], WheelStore(Path(root)), Client(version="1"))
except KeyboardInterrupt:
    sys.exit(130)
"""


def child(download: Download, store: WheelStore) -> subprocess.Popen[bytes]:
    """Fetch one file in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", _CHILD, download.url, str(download.sha256), str(store.root)])


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_is_ended_leaves_what_the_next_goes_on_from(
    server: FileServer, store: WheelStore, client: Client, number: signal.Signals
) -> None:
    stall = Stall()
    server.faults[PATH] = [stall]
    download = wheel(server.url(PATH))
    process = child(download, store)
    assert stall.reached.wait(60)
    half = len(BODY) // 2
    wait_for(lambda: store.begun(download.key) == half)
    process.send_signal(number)
    assert process.wait(20) == (
        130 if number == signal.SIGINT else -signal.SIGKILL
    )  # though the server is still silent
    stall.release.set()
    assert in_store(store) == set()
    server.requests.clear()
    assert fetched(store, client, download) == BODY
    assert ranges(server) == [f"bytes={half}-"]


def test_two_runs_fetch_the_same_file_at_once(server: FileServer, store: WheelStore, client: Client) -> None:
    stall = Stall()
    server.faults[PATH] = [stall]
    download = wheel(server.url(PATH))
    other = child(download, store)
    assert stall.reached.wait(60)
    # The other holds the partial file: ours is a private one, and both end well.
    assert fetched(store, client, download) == BODY
    stall.release.set()
    assert other.wait(60) == 0
    assert in_store(store) == {hashlib.sha256(BODY).hexdigest()}
    assert partials(store) == []


def test_a_damaged_file_of_the_store_is_fetched_again(server: FileServer, store: WheelStore, client: Client) -> None:
    download = wheel(server.url(PATH))
    fetched(store, client, download)
    path = store.path(str(download.sha256))
    path.chmod(0o644)
    path.write_bytes(b"?" + BODY[1:])
    (again,) = fetch([download], store, client)
    assert not again.from_store
    assert path.read_bytes() == BODY
    assert len(list(store.root.glob("damaged/*"))) == 1


_FULL = """
import resource, sys
from pathlib import Path
from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.transfer.fetch import Download, fetch
from difyoff.transfer.client import Client
from difyoff.transfer.store import WheelStore
url, sha256, size, root = sys.argv[1:]
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    fetch(
        [Download(url=url, filename="demo.whl", hashes={"sha256": sha256}, size=int(size))],
        WheelStore(Path(root)), Client(version="1"),
    )
except DifyoffError as error:
    print(error.diagnosis.slug, error.diagnosis.message)
"""


def test_a_disk_that_fills_up_is_named_and_what_came_is_kept(
    server: FileServer, store: WheelStore, client: Client
) -> None:
    download = wheel(server.url(PATH))
    argv = [sys.executable, "-c", _FULL, download.url, str(download.sha256), str(download.size), str(store.root)]
    said = subprocess.run(argv, check=True, capture_output=True, text=True).stdout
    assert said.startswith("disk-full ")
    assert f"{len(BODY):,} bytes are needed" in said
    assert partials(store) == [50_000]
    assert fetched(store, client, download) == BODY
    assert ranges(server)[-1] == "bytes=50000-"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_store_of_another_user_is_named(server: FileServer, client: Client, tmp_path: Path) -> None:
    (tmp_path / "closed").mkdir(mode=0o500)
    error = refused(WheelStore(tmp_path / "closed" / "store"), client, wheel(server.url(PATH)))
    assert (error.diagnosis.slug, error.exit_code) == ("store-not-writable", Exit.MACHINE)


def test_a_store_that_cannot_be_a_folder_is_named(server: FileServer, client: Client, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    error = refused(WheelStore(tmp_path / "file" / "store"), client, wheel(server.url(PATH)))
    assert error.diagnosis.slug == "store-not-writable"
    assert server.requests == []


def test_results_are_values(server: FileServer, store: WheelStore, client: Client) -> None:
    download = wheel(server.url(PATH))
    assert fetch([], store, client) == ()
    assert fetch([download], store, client) == (
        Fetched(download=download, sha256=str(download.sha256), size=len(BODY), from_store=False),
    )


def test_a_token_stays_with_the_origin_that_it_was_given_for(server: FileServer, client: Client) -> None:
    with file_server() as other:
        other.files[PATH] = BODY
        elsewhere = other.url(PATH).replace("127.0.0.1", "localhost")
        server.faults["/start"] = [redirect("/next")]
        server.faults["/next"] = [redirect(elsewhere)]

        with client.open(server.url("/start"), headers={"authorization": "Bearer secret"}) as response:
            assert response.read() == BODY

        assert [each.headers.get("Authorization") for each in server.requests] == ["Bearer secret", "Bearer secret"]
        assert "Authorization" not in other.requests[0].headers
        assert response.url == elsewhere


def test_an_answer_that_is_no_success_becomes_the_callers_error(server: FileServer, client: Client) -> None:
    server.faults["/no"] = [lambda handler, body: handler.answer(404, b'{"msg": "plugin not found"}')]

    def refuse(url: str, response: BaseHTTPResponse) -> Exception:
        return LookupError(response.status, response.read())

    with pytest.raises(LookupError) as error, client.open(server.url("/no"), refuse=refuse):
        pass
    assert error.value.args == (404, b'{"msg": "plugin not found"}')


def test_a_redirected_post_stays_a_post(server: FileServer, client: Client) -> None:
    seen: list[tuple[str, bytes]] = []

    def take(handler: faulty.Handler, body: bytes) -> None:
        seen.append((handler.command, handler.rfile.read(int(handler.headers["Content-Length"]))))
        handler.answer(200, b"{}")

    def move(handler: faulty.Handler, body: bytes) -> None:
        handler.rfile.read(int(handler.headers["Content-Length"]))
        handler.answer(301, b"", {"Location": "/search"})

    server.faults["/old"] = [move]
    server.faults["/search"] = [take]

    with client.open(server.url("/old"), method="POST", body=b'{"query": "x"}') as response:
        assert response.status == 200
    assert seen == [("POST", b'{"query": "x"}')]


def received(remote: Remote, store: WheelStore, client: Client) -> bytes:
    with store.partial(None) as part:
        for _ in receive(remote, part, store, client, is_wrong=lambda: False, gave_up=lambda tries, error: never()):
            pass
        return part.path.read_bytes()


def never() -> DifyoffError:
    raise AssertionError


@pytest.mark.parametrize("declared", [True, False])
def test_a_file_is_taken_up_to_a_limit(
    server: FileServer, client: Client, store: WheelStore, *, declared: bool
) -> None:
    server.faults[PATH] = [lambda handler, body: handler.answer(200, body, length=-1 if declared else None)]
    remote = Remote(url=server.url(PATH), name="demo", limit=len(BODY) - 1)

    with pytest.raises(DifyoffError) as error:
        received(remote, store, client)
    assert error.value.diagnosis.slug == "download-too-large"
    assert received(replace(remote, limit=len(BODY)), store, client) == BODY


@pytest.mark.parametrize(
    ("tag", "asked"), [('"v1"', ("bytes=1000-", '"v1"')), ('W/"v1"', (None, None)), ("", (None, None))]
)
def test_what_cannot_be_checked_is_resumed_by_its_etag_alone(
    server: FileServer, client: Client, store: WheelStore, tag: str, asked: tuple[str | None, str | None]
) -> None:
    def cut(handler: faulty.Handler, body: bytes) -> None:
        handler.answer(200, body[:1000], {"ETag": tag} if tag else {}, length=len(body))
        handler.close_connection = True

    server.faults[PATH] = [cut]

    assert received(Remote(url=server.url(PATH), name="demo", checkable=False), store, client) == BODY
    again = server.requests[1].headers
    assert (again.get("Range"), again.get("If-Range")) == asked
