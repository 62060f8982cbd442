"""Releases, source folders and committed packages of GitHub, public and private."""

import gzip
import io
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from difyoff.difypkg.diagnosis import Diagnosis
from difyoff.sources.github import Reference, read_reference
from difyoff.sources.settings import SourceSettings, read_source_settings
from difyoff.sources.source import Access
from kit.access import access_to, located, refused, slugs
from kit.faulty import Handler
from kit.marketplace import GitHub, github, package, send, tarball
from kit.plugins import skeleton

SERVER = "https://github.com"
REPO = "acme/plugins"


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("difyoff.transfer.receive._FIRST_WAIT", 0.001)


@pytest.fixture(params=[None, "secret"], ids=["public", "private"])
def hub(request: pytest.FixtureRequest) -> Iterator[GitHub]:
    with github(request.param) as hub:
        yield hub
        for asked in hub.files.requests:  # the storage behind GitHub refuses a request with two kinds of rights
            assert "Authorization" not in asked.headers
        assert {asked.method for asked in (*hub.site.requests, *hub.files.requests)} <= {"GET"}


@pytest.fixture
def reach(hub: GitHub, tmp_path: Path) -> Iterator[tuple[Access, list[Diagnosis]]]:
    with access_to(hub.environment, tmp_path / "cache") as reach:
        yield reach


def source(folder: str = "", **extra: bytes) -> dict[str, bytes]:
    """The files of a plugin in a folder of a repository."""
    files = {path: text.encode() for path, text in skeleton().items()} | extra
    return {f"{folder}/{path}" if folder else path: content for path, content in files.items()}


def ref(repo: str = "acme/plugins", **fields: object) -> Reference:
    owner, _, name = repo.partition("/")
    return Reference(owner=owner, repo=name, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("github:acme/plugins", ref()),
        ("github:acme/plugins@v1.0.0", ref(ref="v1.0.0")),
        ("github:acme/plugins@tools/box/0.0.4", ref(ref="tools/box/0.0.4")),
        ("github:acme/plugins@v1/tiny.difypkg", ref(ref="v1/tiny.difypkg")),
        ("github:acme/plugins/tiny.difypkg", ref(asset="tiny.difypkg")),
        ("github:acme/plugins@main//tools/tiny", ref(ref="main", path="tools/tiny")),
        ("github:acme/plugins//tools/tiny/", ref(path="tools/tiny")),
        ("github:acme/plugins@main//", ref(ref="main", path="")),
        (f"{SERVER}/acme/plugins", ref()),
        (f"{SERVER}/acme/plugins.git", ref()),
        (f"{SERVER}/acme/plugins/releases", ref()),
        (f"{SERVER}/acme/plugins/releases/latest/download/tiny.difypkg", ref(asset="tiny.difypkg")),
        (f"{SERVER}/acme/plugins/releases/tag/tools%2Fbox%2F0.0.4", ref(ref="tools/box/0.0.4")),
        (
            f"{SERVER}/acme/plugins/releases/download/tools/box/0.0.4/t.difypkg",
            ref(ref="tools/box/0.0.4", asset="t.difypkg"),
        ),
        (f"{SERVER}/acme/plugins/tree/main/tools/tiny", ref(ref="main/tools/tiny", split=True)),
        (f"{SERVER}/acme/plugins/blob/main/tiny.difypkg", ref(ref="main/tiny.difypkg", split=True)),
        ("https://www.github.com/acme/plugins/raw/refs/heads/main/t.difypkg", ref(ref="main/t.difypkg", split=True)),
        ("https://raw.githubusercontent.com/acme/plugins/main/t.difypkg", ref(ref="main/t.difypkg", split=True)),
    ],
)
def test_names_of_github(text: str, expected: Reference) -> None:
    assert read_reference(text, SERVER) == expected


@pytest.mark.parametrize(
    "text", ["acme/plugins", "https://other.example/acme/plugins", f"{SERVER}/acme", "./acme/plugins"]
)
def test_what_is_not_of_github(text: str) -> None:
    assert read_reference(text, SERVER) is None


@pytest.mark.parametrize(
    ("environment", "server", "api"),
    [
        ({}, SERVER, "https://api.github.com"),
        ({"GITHUB_API_URL": "https://api.github.com"}, SERVER, "https://api.github.com"),
        ({"GITHUB_API_URL": "https://github.com"}, SERVER, "https://api.github.com"),
        ({"GITHUB_API_URL": "https://git.example/api/v3"}, "https://git.example", "https://git.example/api/v3"),
        ({"GITHUB_SERVER_URL": "https://git.example/"}, "https://git.example", "https://git.example/api/v3"),
        (
            {"GITHUB_SERVER_URL": "https://git.example", "GITHUB_API_URL": "https://api.git.example"},
            "https://git.example",
            "https://api.git.example",
        ),
    ],
)
def test_where_github_is(environment: dict[str, str], server: str, api: str) -> None:
    settings = read_source_settings(environment)

    assert (settings.github_server, settings.github_api) == (server, api)


def test_which_token_goes_where() -> None:
    every = {"GITHUB_TOKEN": "a", "GH_TOKEN": "b", "GH_ENTERPRISE_TOKEN": "c"}

    assert read_source_settings(every).github_token == "a"
    assert read_source_settings({"GH_TOKEN": "b"}).github_token == "b"
    assert read_source_settings({**every, "GITHUB_SERVER_URL": "https://git.example"}).github_token == "c"
    assert (
        "a" not in repr(SourceSettings(github_token="a")).replace("github_api", "").replace("marketplace", "").split()
    )


@pytest.mark.parametrize(
    "text", ["github:acme/plugins", "github:acme/plugins@1.0.0", "github:acme/plugins@v1.0.0/tiny.difypkg"]
)
def test_the_package_of_a_release(
    hub: GitHub, reach: tuple[Access, list[Diagnosis]], tmp_path: Path, text: str
) -> None:
    access, findings = reach
    content = package(tmp_path).read_bytes()
    hub.release(REPO, "v1.0.0", {"tiny.difypkg": content, "notes.txt": b"-"})

    place = located(text, access)

    assert place.path.read_bytes() == content
    assert place.name == "github:acme/plugins@v1.0.0/tiny.difypkg"
    assert place.origin is not None
    assert place.origin.checked == "digest"
    assert place.origin.sha256 == sha256(content).hexdigest()
    assert place.origin.url == hub.site.url("/acme/plugins/releases/download/v1.0.0/tiny.difypkg")
    assert findings == []
    assert located(text, access).path == place.path
    assert len(hub.files.requests) == 1


def test_a_tag_with_slashes_and_no_slash_taken_for_one(
    hub: GitHub, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    hub.release(REPO, "tools/box/0.0.4", {"box.difypkg": package(tmp_path).read_bytes()})

    assert located("github:acme/plugins@tools/box/0.0.4", reach[0]).path.is_file()
    assert located("github:acme/plugins@tools/box/0.0.4/box.difypkg", reach[0]).path.is_file()


def test_a_repository_with_trial_releases_only(
    hub: GitHub, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    hub.release(REPO, "v0.1.0-pre", {"tiny.difypkg": package(tmp_path).read_bytes()}, latest=False)

    assert located("github:acme/plugins", reach[0]).name == "github:acme/plugins@v0.1.0-pre/tiny.difypkg"


def test_several_packages_of_a_release(hub: GitHub, reach: tuple[Access, list[Diagnosis]], tmp_path: Path) -> None:
    content = package(tmp_path).read_bytes()
    hub.release(REPO, "1.0.0", {"ai.difypkg": content, "tools.difypkg": content + b""})

    diagnosis = refused("github:acme/plugins", reach[0])
    assert diagnosis.slug == "choose-asset"
    assert set(diagnosis.context) == {f"github:acme/plugins@1.0.0/{name}.difypkg" for name in ("ai", "tools")}
    assert located(diagnosis.context[0], reach[0]).path.is_file()
    wrong = refused("github:acme/plugins@1.0.0/tool.difypkg", reach[0])
    assert wrong.slug == "choose-asset"
    assert wrong.context[0] == "github:acme/plugins@1.0.0/tools.difypkg"
    hub.release(REPO, "1.1.0", {"ai.difypkg": b"-", "plugins.difypkg": content})
    assert located("github:acme/plugins", reach[0]).name.endswith("@1.1.0/plugins.difypkg")


def test_an_old_release_without_digests(hub: GitHub, reach: tuple[Access, list[Diagnosis]], tmp_path: Path) -> None:
    access, findings = reach
    hub.release(REPO, "1.0.0", {"tiny.difypkg": package(tmp_path).read_bytes()}, digests=False)

    place = located("github:acme/plugins", access)

    assert place.origin is not None
    assert place.origin.checked is None
    assert slugs(findings) == ["unchecked-download"]
    located("github:acme/plugins", access)
    assert len(hub.files.requests) == 1


def test_an_asset_that_is_not_the_one_listed(
    hub: GitHub, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    content = package(tmp_path).read_bytes()
    hub.release(REPO, "1.0.0", {"tiny.difypkg": content})
    hub.files.files["/acme/plugins/1.0.0/tiny.difypkg"] = content[:-1] + b"x"

    assert refused("github:acme/plugins", reach[0]).slug == "digest-mismatch"


def test_an_asset_that_was_replaced(hub: GitHub, reach: tuple[Access, list[Diagnosis]], tmp_path: Path) -> None:
    old, new = (package(tmp_path / text, text=text).read_bytes() for text in ("old", "new"))
    hub.release(REPO, "1.0.0", {"tiny.difypkg": old})
    assert located("github:acme/plugins", reach[0]).path.read_bytes() == old
    hub.release(REPO, "1.0.0", {"tiny.difypkg": new})
    assert located("github:acme/plugins", reach[0]).path.read_bytes() == new


@pytest.mark.parametrize(
    "text", ["github:acme/plugins@main//tools/tiny", "{site}/acme/plugins/tree/main/tools/tiny"], ids=["name", "page"]
)
def test_a_folder_of_many_plugins(hub: GitHub, reach: tuple[Access, list[Diagnosis]], text: str) -> None:
    access, findings = reach
    files = source("tools/tiny") | source("models/other", **{"big.bin": b"x" * 100_000}) | {"README.md": b"#"}
    hub.tree(REPO, files, ref="main", links={"tools/tiny/link.md": "README.md", "tools/tiny/out": "../../README.md"})

    place = located(text.format(site=hub.site.url("")), access)

    kept = {path.relative_to(place.path).as_posix() for path in place.path.rglob("*") if path.is_file()}
    assert kept == {*skeleton(), "link.md"}
    assert (place.path / "link.md").read_bytes() == files["tools/tiny/README.md"]
    assert not any(path.is_symlink() for path in place.path.rglob("*"))
    assert place.origin is not None
    assert place.origin.commit == hub.commit
    assert place.origin.url == hub.site.url(f"/acme/plugins/tree/{hub.commit}/tools/tiny")
    assert slugs(findings) == ["special-file-left-out"]
    assert located("github:acme/plugins@main//tools/tiny", access).path == place.path
    assert len(hub.files.requests) == 1


def test_a_branch_with_slashes_in_a_pasted_page(hub: GitHub, reach: tuple[Access, list[Diagnosis]]) -> None:
    hub.tree(REPO, source("tools/tiny"), ref="feature/new")

    place = located(hub.site.url("/acme/plugins/tree/feature/new/tools/tiny"), reach[0])

    assert (place.path / "manifest.yaml").is_file()
    assert place.name == "github:acme/plugins@feature/new//tools/tiny"


def test_a_repository_that_is_a_plugin_and_has_no_release(hub: GitHub, reach: tuple[Access, list[Diagnosis]]) -> None:
    hub.tree(REPO, source())

    assert (located("github:acme/plugins", reach[0]).path / "main.py").is_file()


@pytest.mark.parametrize(
    "text", ["github:acme/plugins@main", "github:acme/plugins@main//", "github:acme/plugins@main//tool"]
)
def test_a_repository_of_many_plugins(hub: GitHub, reach: tuple[Access, list[Diagnosis]], text: str) -> None:
    hub.tree(REPO, source("tools/a") | source("tools/b"), ref="main")

    diagnosis = refused(text, reach[0])

    assert diagnosis.slug == "choose-folder"
    assert set(diagnosis.context) == {"github:acme/plugins@main//tools/a", "github:acme/plugins@main//tools/b"}
    assert located(diagnosis.context[0], reach[0]).path.is_dir()


@pytest.mark.parametrize(
    "text",
    [
        *(
            "github:acme/plugins",
            "github:acme/plugins@main//dist/tiny.difypkg",
            "github:acme/plugins@main/tiny.difypkg",
        ),
        "{site}/acme/plugins/blob/main/dist/tiny.difypkg",
    ],
)
def test_a_package_that_is_committed(
    hub: GitHub, reach: tuple[Access, list[Diagnosis]], tmp_path: Path, text: str
) -> None:
    content = package(tmp_path).read_bytes()
    hub.tree(REPO, {"dist/tiny.difypkg": content, "README.md": b"#"}, ref="main")
    hub.api(f"repos/{REPO}/commits/HEAD", {"sha": hub.commit})

    place = located(text.format(site=hub.site.url("")), reach[0])

    assert place.path.read_bytes() == content
    assert place.origin is not None
    assert place.origin.commit == hub.commit


def test_what_is_not_on_github(hub: GitHub, reach: tuple[Access, list[Diagnosis]], tmp_path: Path) -> None:
    missing = refused("github:acme/nothing", reach[0])
    assert missing.slug == "not-on-github"
    assert "GITHUB_TOKEN" in (missing.hint or "")
    hub.tree(REPO, source())
    no_tag = refused("github:acme/plugins@v1.0.1", reach[0])
    assert no_tag.slug == "not-on-github"
    assert no_tag.context[1].startswith("nearest tags: v1.")
    assert refused("github:acme", reach[0]).slug == "not-on-github"


def test_a_private_repository_without_a_token(tmp_path: Path) -> None:
    with github("secret") as hub:
        hub.release(REPO, "1.0.0", {"tiny.difypkg": b"-"})
        environment = {name: value for name, value in hub.environment.items() if name != "GITHUB_TOKEN"}
        with access_to(environment, tmp_path / "cache") as (access, _):
            diagnosis = refused("github:acme/plugins", access)
    assert diagnosis.slug == "not-on-github"
    assert "without a token" in diagnosis.context[0]


@pytest.mark.parametrize("status", [403, 429])
def test_the_quota_of_the_api(hub: GitHub, reach: tuple[Access, list[Diagnosis]], tmp_path: Path, status: int) -> None:
    reset = str(int(time.time()) + 1800)

    def over(handler: Handler, _: bytes) -> None:
        send(handler, {"message": "rate limit"}, status, x_ratelimit_remaining="0", x_ratelimit_reset=reset)

    hub.release(REPO, "1.0.0", {"tiny.difypkg": package(tmp_path).read_bytes()})
    hub.site.faults["/api/v3/repos/acme/plugins/releases/latest"] = [over]

    diagnosis = refused("github:acme/plugins", reach[0])

    assert diagnosis.slug == "rate-limited"
    assert "in 30 minutes" in diagnosis.message
    assert "GITHUB_TOKEN" in (diagnosis.hint or "")
    hub.site.faults["/api/v3/repos/acme/plugins/releases/latest"] = [
        lambda handler, _: send(handler, {}, status, Retry_After="0")
    ]
    assert located("github:acme/plugins", reach[0]).path.is_file()


@pytest.mark.parametrize("share", [0.1, 0.5, 0.98])
def test_an_archive_that_is_cut_is_streamed_again(
    hub: GitHub, reach: tuple[Access, list[Diagnosis]], share: float
) -> None:
    archive = hub.tree(REPO, source("tools/tiny", **{"noise.bin": bytes(range(256)) * 40}), ref="main")

    def cut(handler: Handler, body: bytes) -> None:
        handler.answer(200, body[: int(len(body) * share)], length=None)

    hub.files.faults[f"/acme/plugins/tar.gz/{hub.commit}"] = [cut]

    place = located("github:acme/plugins@main//tools/tiny", reach[0])

    assert {path.name for path in place.path.rglob("*") if path.is_file()} >= {"main.py", "noise.bin"}
    assert len(archive) > 0
    assert len(hub.files.requests) == 2


def test_an_archive_cut_between_two_files_is_not_taken_for_a_whole_one(tmp_path: Path) -> None:
    with github() as hub, access_to(hub.environment, tmp_path / "cache") as (access, _):
        hub.tree(REPO, source("tools/tiny"), ref="main")
        plain = gzip.decompress(tarball("top", source("tools/tiny"), {}))
        buffer = io.BytesIO()
        with gzip.GzipFile(fileobj=buffer, mode="wb") as stream:
            stream.write(plain[: 512 * 8])  # whole blocks
        cut = buffer.getvalue()[:-8]  # without the checksum and the size
        path = f"/acme/plugins/tar.gz/{hub.commit}"
        hub.files.faults[path] = [lambda handler, body: handler.answer(200, cut, length=None)] * 5

        assert refused("github:acme/plugins@main//tools/tiny", access).slug == "source-unreachable"


def test_nothing_is_asked_offline(hub: GitHub, reach: tuple[Access, list[Diagnosis]], tmp_path: Path) -> None:
    hub.release(REPO, "v1.0.0", {"tiny.difypkg": package(tmp_path).read_bytes()})
    hub.tree(REPO, source("tools/tiny"), ref="main")
    texts = ("github:acme/plugins", "github:acme/plugins@1.0.0", "github:acme/plugins@main//tools/tiny")
    paths = [located(text, reach[0]).path for text in texts]
    asked = len(hub.site.requests)

    with access_to(hub.environment, tmp_path / "cache", offline=True) as (access, _):
        assert [located(text, access).path for text in texts] == paths
        assert refused("github:acme/other", access).slug == "not-in-store"
    assert len(hub.site.requests) == asked


def test_a_kept_folder_that_was_changed_is_fetched_again(hub: GitHub, reach: tuple[Access, list[Diagnosis]]) -> None:
    hub.tree(REPO, source("tools/tiny"), ref="main")
    place = located("github:acme/plugins@main//tools/tiny", reach[0])
    (place.path / "main.py").write_text("import os")

    again = located("github:acme/plugins@main//tools/tiny", reach[0])

    assert (again.path / "main.py").read_text() == skeleton()["main.py"]
