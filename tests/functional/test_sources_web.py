"""Packages and source archives behind any URL, what is on this machine, and bundles."""

import io
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from difyoff.difypkg.archive import Archive
from difyoff.difypkg.diagnosis import Diagnosis, DifyoffError
from difyoff.difypkg.place import PluginPlace
from difyoff.sources.source import Access, Collection
from difyoff.sources.table import SOURCES, locate, locate_member
from kit.access import access_to, located, refused, slugs
from kit.faulty import FileServer, Handler, file_server
from kit.marketplace import LOGIN_PAGE, marketplace, package, tarball
from kit.plugins import skeleton, write_plugin


@pytest.fixture
def server() -> Iterator[FileServer]:
    with file_server() as server:
        yield server


@pytest.fixture
def reach(tmp_path: Path) -> Iterator[tuple[Access, list[Diagnosis]]]:
    with access_to({"MARKETPLACE_API_URL": "http://127.0.0.1:9"}, tmp_path / "cache") as reach:
        yield reach


def files_of(folder: str) -> dict[str, bytes]:
    return {f"{folder}{path}": text.encode() for path, text in skeleton().items()}


def zipped(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
    return buffer.getvalue()


def test_a_package_behind_a_url(server: FileServer, reach: tuple[Access, list[Diagnosis]], tmp_path: Path) -> None:
    access, findings = reach
    content = package(tmp_path).read_bytes()
    server.files["/p/tiny.difypkg?token=secret"] = content

    place = located(server.url("/p/tiny.difypkg?token=secret", user="me:pass"), access)

    assert place.path.read_bytes() == content
    assert place.origin is not None
    assert place.origin.url == server.url("/p/tiny.difypkg?…")
    assert "secret" not in place.name
    assert slugs(findings) == ["unchecked-download"]
    notes = "".join(path.read_text() for path in (tmp_path / "cache" / "sources" / "names").iterdir())
    assert "secret" not in notes
    assert "pass" not in notes


def test_what_the_server_still_has_is_not_fetched_again(
    server: FileServer, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    content = package(tmp_path).read_bytes()
    states = ['"one"']

    def answer(handler: Handler, _: bytes) -> None:
        if handler.headers.get("If-None-Match") == states[-1]:
            handler.answer(304, b"")
        else:
            handler.answer(200, content, {"ETag": states[-1]})

    server.routes["/tiny.difypkg"] = answer
    first = located(server.url("/tiny.difypkg"), reach[0])
    assert located(server.url("/tiny.difypkg"), reach[0]).path == first.path
    assert server.requests[1].headers["If-None-Match"] == '"one"'
    states.append('"two"')
    content += b""
    located(server.url("/tiny.difypkg"), reach[0])
    assert len(server.requests) == 3
    with access_to({}, tmp_path / "cache", offline=True) as (access, _):
        assert located(server.url("/tiny.difypkg"), access).path == first.path
        assert refused(server.url("/other.difypkg"), access).slug == "not-in-store"


@pytest.mark.parametrize("top", ["tiny-0.1.0/", ""])
@pytest.mark.parametrize("form", ["zip", "tar.gz"])
def test_a_source_archive(server: FileServer, reach: tuple[Access, list[Diagnosis]], top: str, form: str) -> None:
    if form == "zip" and not top:
        pytest.skip("a zip with the manifest at its root is a package")
    files = {f"{top}{path}": content for path, content in files_of("").items()}
    server.files["/tiny"] = zipped(files) if form == "zip" else plain_tar(files)

    place = located(server.url("/tiny"), reach[0])

    assert {path.relative_to(place.path).as_posix() for path in place.path.rglob("*") if path.is_file()} == {
        *skeleton()
    }


def plain_tar(files: Mapping[str, bytes]) -> bytes:
    import tarfile

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for path, content in files.items():
            info = tarfile.TarInfo(f"./{path}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def test_a_folder_of_a_source_archive(server: FileServer, reach: tuple[Access, list[Diagnosis]]) -> None:
    server.files["/all.zip"] = zipped(files_of("repo/tools/a/") | files_of("repo/tools/b/"))

    diagnosis = refused(server.url("/all.zip"), reach[0])
    assert diagnosis.slug == "choose-folder"
    assert diagnosis.context == tuple(server.url(f"/all.zip#subdirectory=tools/{name}") for name in "ab")
    place = located(diagnosis.context[0], reach[0])
    assert (place.path / "manifest.yaml").is_file()


@pytest.mark.parametrize("form", ["zip", "tar.gz"])
@pytest.mark.parametrize("path", ["top/../../evil", "top/a/../../../evil", "top/..\\evil"])
def test_an_archive_that_leads_out_of_its_folder(
    server: FileServer, reach: tuple[Access, list[Diagnosis]], tmp_path: Path, path: str, form: str
) -> None:
    files = {"top/README.md": b"#", path: b"evil"}
    server.files["/evil"] = zipped(files) if form == "zip" else tarball("x", {}, {}) and plain_tar(files)

    assert refused(server.url("/evil"), reach[0]).slug in ("unsafe-path", "choose-folder")
    assert not list(tmp_path.rglob("evil"))


def test_links_of_an_archive_lead_nowhere_else(
    server: FileServer, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    secret = tmp_path / "secret"
    secret.write_text("secret")
    links = {"a": str(secret), "b": "../../../../../../../../etc/hostname", "c": "c", "d": "main.py", "e": "missing"}
    server.files["/t"] = tarball("top", files_of(""), links)

    place = located(server.url("/t"), reach[0])

    assert {path.name for path in place.path.iterdir()} & set(links) == {"d"}
    assert not any(path.is_symlink() for path in place.path.rglob("*"))
    assert "special-file-left-out" in slugs(reach[1])


@pytest.mark.parametrize(
    ("content", "slug"),
    [
        (LOGIN_PAGE, "web-page-received"),
        (b"hello", "not-a-zip"),
        (b"\x1f\x8b" + b"broken" * 20, "not-a-zip"),
        (tarball("top", files_of(""), {})[:-200], "not-a-zip"),
        (zipped({"top/a": b"1"})[:-5], "download-truncated"),
        (zipped({"top/a": b"1", "top/a/b": b"2"}), "not-a-zip"),
    ],
)
def test_what_is_not_a_plugin(
    server: FileServer, reach: tuple[Access, list[Diagnosis]], content: bytes, slug: str
) -> None:
    server.files["/x"] = content

    assert refused(server.url("/x"), reach[0]).slug == slug


def test_a_url_that_leads_nowhere(server: FileServer, reach: tuple[Access, list[Diagnosis]]) -> None:
    assert refused(server.url("/x"), reach[0]).slug == "url-not-found"


def test_a_path_wins_over_a_name(
    reach: tuple[Access, list[Diagnosis]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    access, findings = reach
    monkeypatch.chdir(tmp_path)
    folder = write_plugin(Path("models/openai"))

    assert located("models/openai", access).path == folder
    assert slugs(findings) == ["path-before-name"]
    assert "marketplace:models/openai" in (findings[0].hint or "")
    assert located("./models/openai", access).path == folder
    assert len(findings) == 1
    with marketplace() as market:
        market.add(package(tmp_path, name="openai", author="models"), "models/openai")
        with access_to({"MARKETPLACE_API_URL": market.url}, tmp_path / "cache") as (other, _):
            assert located("marketplace:models/openai", other).origin is not None


def test_what_is_nothing_at_all(reach: tuple[Access, list[Diagnosis]]) -> None:
    for text in ("./nothing", "nothing.difypkg", "a" * 5000, "", "x\0y", "ftp://host/x"):
        assert refused(text, reach[0]).slug == "file-not-found"


def test_standard_input(reach: tuple[Access, list[Diagnosis]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    content = package(tmp_path).read_bytes()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    place = located("-", reach[0])

    assert place.path.read_bytes() == content
    assert place.origin is None


def bundle(path: Path, manifest: str, packages: Mapping[str, bytes] | None = None) -> str:
    path.write_bytes(
        zipped({"manifest.yaml": manifest.encode(), **{f"_assets/{k}": v for k, v in (packages or {}).items()}})
    )
    return str(path)


def test_the_members_of_a_bundle(reach: tuple[Access, list[Diagnosis]], tmp_path: Path) -> None:
    inside = package(tmp_path)
    path = bundle(
        tmp_path / "set.difybndl",
        """\
name: set
type: bundle
dependencies:
- type: package
  value: {path: abc123}
- type: marketplace
  value: {marketplace_pattern: 'acme/other:1.x.x'}
- type: github
  value: {repo_pattern: 'acme/repo:1.0.0/tiny.difypkg'}
- type: github
  value: {repo_pattern: 'acme/repo:1.0.0/*.difypkg'}
""",
        {"abc123": inside.read_bytes()},
    )

    found = locate(path, reach[0])

    assert isinstance(found, Collection)
    assert [member.name for member in found.members[1:]] == [
        *("marketplace:acme/other:1.x.x", "github:acme/repo@1.0.0/tiny.difypkg", "github:acme/repo@1.0.0"),
    ]
    place = locate_member(found.members[0], reach[0])
    with Archive(place.path) as archive:
        assert "manifest.yaml" in archive
    assert place.name == f"abc123 of {path}"


@pytest.mark.parametrize(
    "manifest",
    [
        *("name: x", "dependencies: []", "dependencies: [1]", "dependencies: [{type: package, value: {path: gone}}]"),
        "dependencies: [{type: marketplace, value: {marketplace_pattern: '../x'}}]",
        "dependencies: [{type: github, value: {repo_pattern: 'x'}}]",
    ],
)
def test_what_is_not_a_bundle(reach: tuple[Access, list[Diagnosis]], tmp_path: Path, manifest: str) -> None:
    assert refused(bundle(tmp_path / "set.difybndl", manifest), reach[0]).slug == "not-a-bundle"


def test_a_new_kind_of_source_is_one_line(reach: tuple[Access, list[Diagnosis]], tmp_path: Path) -> None:
    class Shouted:
        def claims(self, text: str, access: Access, /) -> bool:
            return text.isupper()

        def locate(self, text: str, access: Access, /) -> PluginPlace:
            return PluginPlace(path=tmp_path / text.lower(), name=text)

    found = locate("PLUGIN", reach[0], (*SOURCES, Shouted()))

    assert isinstance(found, PluginPlace)
    assert found.path == tmp_path / "plugin"
    with pytest.raises(DifyoffError):
        locate("PLUGIN", reach[0])
