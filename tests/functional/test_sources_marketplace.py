"""Plugins of a marketplace, by every way to name one, and every way in which it does not give them."""

import time
from collections.abc import Iterator
from email.utils import formatdate
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

import pytest

from difyoff.difypkg.diagnosis import Diagnosis, DifyoffError, page
from difyoff.sources.marketplace import Reference, read_reference, search
from difyoff.sources.source import Access
from kit import faulty
from kit.access import access_to, located, refused, slugs
from kit.faulty import Fault, Handler
from kit.marketplace import BOT_WALL, EXPIRED, LOGIN_PAGE, Marketplace, content_checksum, marketplace, package, send

BASE = "https://market.example"
HASH = "0123456789abcdef" * 4


@pytest.fixture(autouse=True)
def _no_long_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("difyoff.transfer.receive._FIRST_WAIT", 0.001)


@pytest.fixture
def market() -> Iterator[Marketplace]:
    with marketplace() as market:
        yield market


@pytest.fixture
def reach(market: Marketplace, tmp_path: Path) -> Iterator[tuple[Access, list[Diagnosis]]]:
    with access_to({"MARKETPLACE_API_URL": market.url}, tmp_path / "cache") as reach:
        yield reach


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("acme/tiny", ("acme", "tiny", None, None)),
        ("ACME/Tiny", ("acme", "tiny", None, None)),
        ("marketplace:acme/tiny", ("acme", "tiny", None, None)),
        ("acme/tiny:0.1.0", ("acme", "tiny", "0.1.0", None)),
        ("acme/tiny:0.1.0-beta", ("acme", "tiny", "0.1.0-beta", None)),
        ("acme/tiny:1.x.x", ("acme", "tiny", "1.x.x", None)),
        (f"acme/tiny:0.1.0@{HASH}", ("acme", "tiny", "0.1.0", HASH)),
        (quote(f"acme/tiny:0.1.0@{HASH}", safe=""), ("acme", "tiny", "0.1.0", HASH)),
        (f"{BASE}/plugins/acme/tiny", ("acme", "tiny", None, None)),
        (f"{BASE}/plugin/acme/tiny?source=search#top", ("acme", "tiny", None, None)),
        (f"{BASE}/api/v1/plugins/acme/tiny/0.1.0/download", ("acme", "tiny", "0.1.0", None)),
        (
            f"{BASE}/api/v1/plugins/download?unique_identifier=acme%2Ftiny%3A0.1.0%40{HASH}",
            ("acme", "tiny", "0.1.0", HASH),
        ),
    ],
)
def test_names_of_the_marketplace(text: str, expected: tuple[str, str, str | None, str | None]) -> None:
    author, name, version, checksum = expected

    assert read_reference(text, BASE) == Reference(author=author, name=name, version=version, checksum=checksum)


@pytest.mark.parametrize(
    "text",
    [
        *("tiny", "./acme/tiny", "acme/tiny.difypkg", "acme/tiny/more", "acme/tiny:", "acme/tiny:latest", "a b/tiny"),
        *("https://other.example/plugins/acme/tiny", f"{BASE}/collections", "github:acme/tiny", "acme/tiny@1.0.0", ""),
        f"{BASE}/api/v1/plugins/download?unique_identifier={quote('https://x.example/', safe='')}",
    ],
)
def test_what_is_not_of_the_marketplace(text: str) -> None:
    assert read_reference(text, BASE) is None


def test_the_latest_version_is_fetched_checked_and_never_fetched_again(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    access, findings = reach
    market.add(package(tmp_path, version="0.1.0"), version="0.1.0")
    newest = package(tmp_path, version="0.2.0")
    identifier = market.add(newest, version="0.2.0")

    place = located("acme/tiny", access)

    assert place.path.read_bytes() == newest.read_bytes()
    assert place.name == "acme/tiny:0.2.0"
    assert place.origin is not None
    assert place.origin.identifier == identifier
    assert place.origin.sha256 == sha256(newest.read_bytes()).hexdigest()
    assert place.origin.checked == "checksum"
    assert place.origin.url == f"{market.url}/api/v1/plugins/acme/tiny/0.2.0"
    assert findings == []
    for text in ("acme/tiny", "acme/tiny:0.2.0", identifier, f"{market.url}/plugins/acme/tiny", "acme/tiny:0.x.x"):
        assert located(text, access).path == place.path
    assert market.downloads() == [market.storage_path(identifier)]


def test_requests_say_who_asks_and_for_which_dify(market: Marketplace, tmp_path: Path) -> None:
    market.add(package(tmp_path))
    for dify, sent in ((None, "999.0.0"), ("1.13.3", "1.13.3")):
        with access_to({"MARKETPLACE_API_URL": market.url}, tmp_path / f"cache-{dify}", dify=dify) as (access, _):
            located("acme/tiny", access)
        request = market.server.requests[-1]
        assert request.headers["X-Dify-Version"] == sent
        assert request.headers["User-Agent"] == "difyoff/1.2.3"
    assert {each.method for each in (*market.server.requests, *market.storage.requests)} == {"GET"}


def test_the_latest_that_the_site_is_new_enough_for(market: Marketplace, tmp_path: Path) -> None:
    market.add(package(tmp_path, version="0.1.0"), version="0.1.0", minimum=(1, 0, 0))
    market.add(package(tmp_path, version="0.2.0"), version="0.2.0", minimum=(1, 13, 0))
    market.add(package(tmp_path, version="0.3.0"), version="0.3.0", minimum=(2, 0, 0))
    with access_to({"MARKETPLACE_API_URL": market.url}, tmp_path / "cache", dify="1.13.3") as (access, findings):
        assert located("acme/tiny", access).name == "acme/tiny:0.2.0"
        assert findings == []
        assert located("acme/tiny:0.3.0", access).name == "acme/tiny:0.3.0"
    assert slugs(findings) == ["newer-dify-needed"]
    assert "Dify 2.0.0" in findings[0].message


def test_nothing_is_asked_offline(market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path) -> None:
    identifier = market.add(package(tmp_path))
    path = located("acme/tiny", reach[0]).path
    asked = len(market.server.requests)

    with access_to({"MARKETPLACE_API_URL": market.url}, tmp_path / "cache", offline=True) as (access, _):
        for text in ("acme/tiny", "acme/tiny:0.1.0", identifier):
            assert located(text, access).path == path
        missing = refused("acme/tiny:0.2.0", access)
        assert missing.slug == "not-in-store"
        assert "acme/tiny:0.2.0" in missing.message
        assert refused("other/plugin", access).slug == "not-in-store"
    assert len(market.server.requests) == asked


def test_a_damaged_copy_is_fetched_again(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    market.add(package(tmp_path))
    path = located("acme/tiny", reach[0]).path
    content = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(content[:-1] + b"x")

    assert located("acme/tiny", reach[0]).path.read_bytes() == content
    assert len(market.downloads()) == 2


@pytest.mark.parametrize("cuts", [(1,), (0.5,), (0.99,), (0.2, 0.4, 0.9)])
def test_a_download_that_is_cut_goes_on_from_a_new_address(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path, cuts: tuple[float, ...]
) -> None:
    path = package(tmp_path, text="x" * 5000)
    identifier = market.add(path)
    size = path.stat().st_size
    places = [cut if cut >= 1 else int(size * cut) for cut in cuts]
    begun = 0
    for number, cut in enumerate(places, start=1):
        address = f"{market.storage_path(identifier)}?X-Amz-Expires=1800&X-Amz-Signature={number}"
        market.storage.faults[address] = [rest_cut(begun, int(cut))]
        begun = int(cut)

    assert located("acme/tiny", reach[0]).path.read_bytes() == path.read_bytes()
    ranges = [request.headers.get("Range") for request in market.storage.requests]
    assert ranges == [None, *(f"bytes={cut}-" for cut in places)]
    assert market.signed == len(cuts) + 1


def rest_cut(first: int, last: int) -> Fault:
    def fault(handler: Handler, body: bytes) -> None:
        if first:
            handler.answer(
                206,
                body[first:last],
                {"Content-Range": f"bytes {first}-{len(body) - 1}/{len(body)}"},
                length=len(body) - first,
            )
        else:
            handler.answer(200, body[:last], length=len(body))
        handler.close_connection = True

    return fault


def test_an_expired_address_is_asked_for_again(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    path = package(tmp_path)
    address = f"{market.storage_path(market.add(path))}?X-Amz-Expires=1800&X-Amz-Signature=1"
    market.storage.faults[address] = [
        lambda handler, body: handler.answer(403, EXPIRED, {"Content-Type": "application/xml"})
    ]

    assert located("acme/tiny", reach[0]).path.read_bytes() == path.read_bytes()
    assert market.signed == 2


def test_a_private_marketplace_may_identify_by_the_file(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    access, findings = reach
    path = package(tmp_path)
    market.add(path, hash_=sha256(path.read_bytes()).hexdigest())

    place = located("acme/tiny:0.1.0", access)

    assert place.origin is not None
    assert place.origin.checked == "sha256"
    assert slugs(findings) == ["checksum-of-file"]


def test_a_private_marketplace_may_identify_by_nothing(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    access, findings = reach
    path = package(tmp_path)
    market.add(path, hash_="")

    place = located("acme/tiny", access)

    assert place.path.read_bytes() == path.read_bytes()
    assert place.origin is not None
    assert place.origin.checked is None
    assert slugs(findings) == ["unchecked-download"]


def test_answers_without_an_envelope(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    identifier = market.add(package(tmp_path))
    plain = {"latest_version": "0.1.0", "latest_package_identifier": identifier, "category": "tool"}
    market.server.routes["/api/v1/plugins/acme/tiny"] = lambda handler, _: send(handler, {"data": {"plugin": plain}})

    assert located("acme/tiny", reach[0]).origin is not None
    market.server.routes["/api/v1/plugins/acme/gone"] = lambda handler, _: send(
        handler, {"detail": "no such plugin"}, 404
    )
    missing = refused("acme/gone", reach[0])
    assert missing.slug == "plugin-not-found"
    assert "no such plugin" in missing.context[0]


def test_a_package_that_is_not_the_one_of_its_identifier(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    path = package(tmp_path)
    market.add(path, hash_=HASH)

    diagnosis = refused("acme/tiny", reach[0])

    assert diagnosis.slug == "identifier-mismatch"
    assert f"identifier {HASH}" in diagnosis.context
    assert f"received   {content_checksum(path)}" in diagnosis.context
    assert not list((tmp_path / "cache" / "wheels").rglob("sha256/*/*"))


def test_a_version_that_was_published_again(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    old = market.add(package(tmp_path / "old", text="old"))
    new = market.add(package(tmp_path / "new", text="new"))

    diagnosis = refused(old, reach[0])

    assert diagnosis.slug == "version-overwritten"
    assert diagnosis.context == (f"wanted {old}", f"now    {new}")
    assert located("acme/tiny:0.1.0", reach[0]).origin is not None


def test_a_version_that_is_replaced_between_two_pieces(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    old = package(tmp_path / "old", text="old" * 100)
    new = package(tmp_path / "new", text="new" * 100)
    identifier = market.add(new)
    address = f"{market.storage_path(identifier)}?X-Amz-Expires=1800&X-Amz-Signature=1"
    half = old.read_bytes()[: old.stat().st_size // 2]

    def other(handler: Handler, body: bytes) -> None:
        handler.answer(200, half, length=len(body))
        handler.close_connection = True

    market.storage.faults[address] = [other]

    assert located(identifier, reach[0]).path.read_bytes() == new.read_bytes()


def test_a_name_that_nobody_has_and_those_that_are_near(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    market.add(package(tmp_path, name="openai", author="langgenius"), "langgenius/openai")

    diagnosis = refused("models/openai", reach[0])

    assert diagnosis.slug == "plugin-not-found"
    assert "near: langgenius/openai" in diagnosis.context
    assert diagnosis.hint is not None
    assert "langgenius/openai" in diagnosis.hint
    assert refused("marketplace:???", reach[0]).slug == "plugin-not-found"


def test_a_version_that_is_not_there_and_those_that_are_near(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    for version in ("0.1.0", "0.1.2", "0.9.9", "1.0.0"):
        market.add(package(tmp_path, version=version), version=version)

    diagnosis = refused("acme/tiny:0.1.1", reach[0])

    assert diagnosis.slug == "version-not-found"
    assert diagnosis.context[0].startswith("nearest: ")
    assert "0.1.2" in diagnosis.context[0]
    assert diagnosis.context[1] == "latest: 1.0.0"
    assert refused("acme/tiny:3.x.x", reach[0]).slug == "version-not-found"


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [("0.x.x", "0.9.9"), ("^0.1.0", "0.9.9"), ("~0.1.0", "0.1.2"), ("0.1.0-0.1.1", "0.1.0"), ("X.x.x", "1.0.0")],
)
def test_patterns_of_versions(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path, pattern: str, expected: str
) -> None:
    for version in ("0.1.0", "0.1.2", "0.9.9", "1.0.0"):
        market.add(package(tmp_path, version=version), version=version)

    assert located(f"acme/tiny:{pattern}", reach[0]).name == f"acme/tiny:{expected}"


def test_a_deprecated_plugin_is_fetched_and_its_alternative_named(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    access, findings = reach
    market.add(package(tmp_path), status="deprecated", deprecated_reason="moved", alternative_plugin_id="acme/other")

    located("acme/tiny", access)

    assert slugs(findings) == ["plugin-deprecated"]
    assert findings[0].context == ("reason: moved",)
    assert "acme/other" in (findings[0].hint or "")


def test_a_deleted_plugin_has_no_latest_version(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    identifier = market.add(package(tmp_path), status="deleted", alternative_plugin_id="acme/other")

    diagnosis = refused("acme/tiny", reach[0])

    assert diagnosis.slug == "plugin-deleted"
    assert "acme/other" in (diagnosis.hint or "")
    assert located("acme/tiny:0.1.0", reach[0]).origin is not None
    market.plugins["acme/tiny"]["0.1.0"].identifier = f"acme/tiny:0.1.0@{HASH}"
    assert refused(identifier.replace(identifier[-8:], "0" * 8), reach[0]).slug == "plugin-deleted"


def test_a_package_that_is_listed_and_not_there(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    identifier = market.add(package(tmp_path))
    market.server.faults[market.download_path(identifier)] = [lambda handler, _: send(handler, {"msg": "x"}, 404)] * 2

    assert refused("acme/tiny", reach[0]).slug == "download-gone"
    assert refused(identifier, reach[0]).slug == "download-gone"


def api_page(market: Marketplace, fault: Fault) -> None:
    market.server.faults["/api/v1/plugins/acme/tiny"] = [fault] * 5


def file_page(market: Marketplace, fault: Fault) -> None:
    for number in range(1, 6):
        path = "/bucket/acme/packages/tiny/versions/0.1.0.difypkg"
        market.storage.faults[f"{path}?X-Amz-Expires=1800&X-Amz-Signature={number}"] = [fault]


def answer(status: int, body: bytes = b"", **headers: str) -> Fault:
    return lambda handler, _: handler.answer(status, body, {k.replace("_", "-"): v for k, v in headers.items()})


def truncated(handler: Handler, body: bytes) -> None:
    handler.answer(200, body[:-30])


FAULTS: dict[str, tuple[Fault, str]] = {
    "bot wall": (answer(403, BOT_WALL, Content_Type="text/html"), "bot-wall"),
    "no permission": (answer(403, b'{"msg": "no"}', Content_Type="application/json"), "source-unauthorised"),
    "no user": (answer(401), "source-unauthorised"),
    "login page": (answer(200, LOGIN_PAGE, Content_Type="text/html"), "web-page-received"),
    "too many requests": (answer(429, Retry_After="3600"), "rate-limited"),
    "too many requests until": (
        lambda handler, _: handler.answer(429, b"", {"Retry-After": formatdate(time.time() + 7200, usegmt=True)}),
        "rate-limited",
    ),
    "overloaded": (answer(503), "source-unreachable"),
    "teapot": (answer(418, b"short and stout"), "unexpected-answer"),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("place", [api_page, file_page])
def test_answers_that_are_not_the_plugin(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path, fault: str, place: object
) -> None:
    market.add(package(tmp_path))
    assert callable(place)
    place(market, FAULTS[fault][0])

    diagnosis = refused("acme/tiny", reach[0])

    assert diagnosis.slug == FAULTS[fault][1]
    assert page(diagnosis.slug).exit_code == 6
    assert not list((tmp_path / "cache" / "wheels").rglob("sha256/*/*"))
    market.server.faults.clear()
    market.storage.faults.clear()
    assert located("acme/tiny", reach[0]).path.is_file()  # the next run is not spoiled


def test_a_limit_says_when_it_ends(market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path) -> None:
    market.add(package(tmp_path))
    api_page(market, answer(429, Retry_After="3600"))

    assert "in 60 minutes" in refused("acme/tiny", reach[0]).message


def test_a_short_limit_is_waited_for(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path
) -> None:
    market.add(package(tmp_path))
    market.server.faults["/api/v1/plugins/acme/tiny"] = [answer(429, Retry_After="0"), answer(503), answer(408)]

    assert located("acme/tiny", reach[0]).path.is_file()


@pytest.mark.parametrize(
    ("fault", "slug"),
    [
        (truncated, "download-truncated"),
        (faulty.short(500), "download-truncated"),
        (faulty.reset(500), "download-truncated"),
        (faulty.content(b"version https://git-lfs.example/spec/v1"), "not-a-zip"),
        (faulty.content(b"{}"), "not-a-zip"),
    ],
)
def test_files_that_are_not_whole(
    market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path, fault: Fault, slug: str
) -> None:
    market.add(package(tmp_path))
    file_page(market, fault)
    for number in range(1, 6):  # the rest, when it is asked for, breaks off too
        address = f"/bucket/acme/packages/tiny/versions/0.1.0.difypkg?X-Amz-Expires=1800&X-Amz-Signature={number}"
        if number > 1 and slug == "download-truncated" and fault is not truncated:
            market.storage.faults[address] = [lambda handler, body: rest_cut(500, 500)(handler, body)]

    assert refused("acme/tiny", reach[0]).slug == slug


def test_answers_of_another_shape(market: Marketplace, reach: tuple[Access, list[Diagnosis]]) -> None:
    for body in (b"[]", b"null", b"{", b'{"code": 0, "data": []}', b'{"data": {"plugin": {}}}', b"[" * 100_000):
        market.server.faults["/api/v1/plugins/acme/tiny"] = [answer(200, body)]
        assert refused("acme/tiny", reach[0]).slug == "unexpected-answer"


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    with marketplace() as market:
        url = market.url
    with access_to({"MARKETPLACE_API_URL": url}, tmp_path / "cache") as (access, _):
        assert refused("acme/tiny", access).slug == "source-unreachable"


def test_a_search(market: Marketplace, reach: tuple[Access, list[Diagnosis]], tmp_path: Path) -> None:
    market.add(package(tmp_path, name="tiny"), "acme/tiny")
    market.add(package(tmp_path, name="tiny_tool"), "acme/tiny_tool", "0.1.0")

    offers, total = search("tiny", reach[0])

    assert [(each.plugin_id, each.version, each.installs) for each in offers] == [
        ("acme/tiny_tool", "0.1.0", 9000),
        ("acme/tiny", "0.1.0", 4000),
    ]
    assert offers[1].brief == "What tiny does."
    assert total == 2
    market.server.routes.pop("/api/v1/plugins/search/advanced")
    with pytest.raises(DifyoffError) as error:
        search("tiny", reach[0])
    assert error.value.diagnosis.slug == "unexpected-answer"
