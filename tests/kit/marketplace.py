"""Servers on loopback that answer as the marketplace, its storage and GitHub answered in August 2026."""

import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from difyoff.difypkg.archive import Archive
from difyoff.difypkg.identity import checksum
from kit.faulty import FileServer, Handler, file_server
from kit.plugins import pack, write_plugin

NOT_FOUND = json.dumps({"code": -1, "data": None, "msg": "plugin not found"}).encode()
EXPIRED = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>AccessDenied</Code></Error>'
BOT_WALL = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>checking</body></html>"
LOGIN_PAGE = b"<html><body><form>Welcome to the guest network</form></body></html>"


def package(folder: Path, *, name: str = "tiny", version: str = "0.1.0", author: str = "acme", text: str = "") -> Path:
    """Write a package whose bytes differ with `text`."""
    plugin = write_plugin(
        folder / f"{name}-{version}", name=name, version=version, author=author, files={"more.txt": text}
    )
    return pack(plugin, folder / f"{author}-{name}_{version}.difypkg")


def content_checksum(path: Path) -> str:
    with Archive(path) as archive:
        return checksum(archive.digests())


def send(handler: Handler, data: Any, status: int = 200, **headers: str) -> None:
    handler.answer(
        status,
        json.dumps(data).encode(),
        {"Content-Type": "application/json; charset=utf-8", **{k.replace("_", "-"): v for k, v in headers.items()}},
    )


@dataclass
class Version:
    identifier: str
    content: bytes
    minimum: tuple[int, int, int]


@dataclass
class Marketplace:
    """The marketplace: plugins are listed by `server`, their bytes come from `storage` at another host.

    A download redirects to a signed address that is good for one GET, and for nothing after it has expired.
    """

    server: FileServer
    storage: FileServer
    plugins: dict[str, dict[str, Version]] = field(default_factory=dict)
    details: dict[str, dict[str, Any]] = field(default_factory=dict)
    signed: int = 0

    @property
    def url(self) -> str:
        return self.server.url("")

    def add(
        self,
        path: Path,
        plugin_id: str = "acme/tiny",
        version: str = "0.1.0",
        *,
        hash_: str | None = None,
        minimum: tuple[int, int, int] = (1, 0, 0),
        **detail: Any,
    ) -> str:
        """Publish a package, over an older one of that version if there is one; return its identifier."""
        content = path.read_bytes()
        mark = content_checksum(path) if hash_ is None else hash_
        identifier = f"{plugin_id}:{version}{f'@{mark}' if mark else ''}"
        self.plugins.setdefault(plugin_id, {})[version] = Version(identifier, content, minimum)
        self.details.setdefault(plugin_id, {}).update(detail)
        base = f"/api/v1/plugins/{plugin_id}"
        self.server.routes[base] = lambda handler, _: self._detail(handler, plugin_id)
        self.server.routes[f"{base}/versions"] = lambda handler, _: self._versions(handler, plugin_id)
        self.server.routes[f"{base}/{version}"] = lambda handler, _: send(
            handler, {"code": 0, "data": {"version": self._version(plugin_id, version)}, "msg": "ok"}
        )
        self.server.routes[f"{base}/{version}/download"] = lambda handler, _: handler.answer(200, content)
        return identifier

    def storage_path(self, identifier: str) -> str:
        plugin_id, _, rest = identifier.partition(":")
        org, _, name = plugin_id.partition("/")
        return f"/bucket/{org}/packages/{name}/versions/{rest.partition('@')[0]}.difypkg"

    def download_path(self, identifier: str) -> str:
        from urllib.parse import quote

        return f"/api/v1/plugins/download?unique_identifier={quote(identifier, safe='')}"

    def downloads(self) -> list[str]:
        """The paths that were asked of the storage."""
        return [request.path.partition("?")[0] for request in self.storage.requests]

    def redirect(self, handler: Handler, _: bytes) -> None:
        identifier = parse_qs(urlsplit(handler.path).query)["unique_identifier"][0]
        for versions in self.plugins.values():
            for each in versions.values():
                if each.identifier == identifier:
                    self._redirect(handler, each)
                    return
        send(handler, {"code": -1, "data": None, "msg": "plugin not found"}, 404)

    def _redirect(self, handler: Handler, version: Version) -> None:
        self.signed += 1
        path = self.storage_path(version.identifier)
        address = f"{path}?X-Amz-Expires=1800&X-Amz-Signature={self.signed}"
        self.storage.files[address] = version.content
        target = self.storage.url(address).replace("127.0.0.1", "localhost")
        handler.answer(302, b'<a href="elsewhere">Found</a>', {"Location": target, "Content-Type": "text/html"})

    def search(self, handler: Handler, _: bytes) -> None:
        asked = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
        words = asked["query"].lower()
        found = [each for each in self.plugins if words in each or each.partition("/")[2] in words]
        plugins = [self._plugin(each) for each in found]
        plugins.sort(key=lambda each: -each["install_count"])
        send(handler, {"code": 0, "data": {"plugins": plugins, "total": len(plugins)}, "msg": "ok"})

    def batch(self, handler: Handler, _: bytes) -> None:
        asked = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))["plugin_ids"]
        plugins = [self._plugin(each) for each in asked if each in self.plugins]
        send(handler, {"code": 0, "data": {"plugins": plugins}, "msg": "ok"})

    def _detail(self, handler: Handler, plugin_id: str) -> None:
        send(handler, {"code": 0, "data": {"plugin": self._plugin(plugin_id)}, "msg": "ok"})

    def _versions(self, handler: Handler, plugin_id: str) -> None:
        versions = [self._version(plugin_id, each) for each in reversed(self.plugins[plugin_id])]
        send(handler, {"code": 0, "data": {"versions": versions}, "msg": "ok"})

    def _plugin(self, plugin_id: str) -> dict[str, Any]:
        org, _, name = plugin_id.partition("/")
        latest, version = list(self.plugins[plugin_id].items())[-1]
        return {
            "type": "plugin",
            "org": org,
            "name": name,
            "plugin_id": plugin_id,
            "label": {"en_US": name.title()},
            "brief": {"en_US": f"What {name}\ndoes.", "zh_Hans": "微"},
            "category": "tool",
            "install_count": 1000 * len(name),
            "latest_version": latest,
            "latest_package_identifier": version.identifier,
            "status": "active",
            "deprecated_reason": "",
            "alternative_plugin_id": "",
            **_minimum(version),
            **self.details.get(plugin_id, {}),
        }

    def _version(self, plugin_id: str, version: str) -> dict[str, Any]:
        org, _, name = plugin_id.partition("/")
        each = self.plugins[plugin_id][version]
        return {
            "plugin_org": org,
            "plugin_name": name,
            "version": version,
            "plugin_tuple": f"{plugin_id}:{version}",
            "checksum": each.identifier.partition("@")[2],
            "unique_identifier": each.identifier,
            "status": "active",
            **_minimum(each),
        }


def _minimum(version: Version) -> dict[str, int]:
    return {
        f"minimum_dify_version_{part}": number
        for part, number in zip(("major", "minor", "patch"), version.minimum, strict=True)
    }


@contextmanager
def marketplace() -> Iterator[Marketplace]:
    with file_server() as server, file_server() as storage:
        market = Marketplace(server=server, storage=storage)
        server.missing = NOT_FOUND
        server.routes["/api/v1/plugins/download"] = market.redirect
        server.routes["/api/v1/plugins/search/advanced"] = market.search
        yield market


@dataclass
class GitHub:
    """GitHub: the API at `/api/v3` of `api`, the site at `site`, files at `files`, which is another host.

    With `token` the API wants it and files refuse any, as the storage behind GitHub does.
    """

    site: FileServer
    files: FileServer
    token: str | None = None
    commit: str = "c0ffee" * 6 + "c0ff"
    releases: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        return {
            "GITHUB_SERVER_URL": self.site.url(""),
            "GITHUB_API_URL": self.site.url("/api/v3"),
            **({"GITHUB_TOKEN": self.token} if self.token else {}),
        }

    def api(self, path: str, data: Any) -> None:
        self.site.routes[f"/api/v3/{path}"] = lambda handler, _: self._answer(handler, data)

    def release(
        self, repo: str, tag: str, assets: Mapping[str, bytes], *, digests: bool = True, latest: bool = True
    ) -> None:
        data = {
            "tag_name": tag,
            "draft": False,
            "prerelease": not latest,
            "assets": [
                self._asset(repo, tag, name, content, number, digests=digests)
                for number, (name, content) in enumerate(assets.items(), start=len(self.releases) * 10)
            ],
        }
        self.releases[tag] = data
        self.api(f"repos/{repo}/releases/tags/{tag}", data)
        self.api(f"repos/{repo}/releases", list(reversed(self.releases.values())))
        if latest:
            self.api(f"repos/{repo}/releases/latest", data)

    def tree(
        self, repo: str, files: Mapping[str, bytes], *, ref: str = "HEAD", links: Mapping[str, str] | None = None
    ) -> bytes:
        """Publish a tree as the archive and the listing of a commit; return the archive."""
        archive = tarball(f"{repo.replace('/', '-')}-{self.commit[:7]}", files, links or {})
        self.api(f"repos/{repo}/commits/{ref}", {"sha": self.commit})
        self.api(f"repos/{repo}/releases", list(reversed(self.releases.values())))
        self.api(f"repos/{repo}/commits/{self.commit}", {"sha": self.commit})
        self.api(f"repos/{repo}/tags", [{"name": "v1.0.0"}, {"name": "v1.1.0"}])
        self.api(f"repos/{repo}/git/trees/{self.commit}", {"tree": [{"path": path, "type": "blob"} for path in files]})
        self.files.files[f"/{repo}/tar.gz/{self.commit}"] = archive
        target = self._elsewhere(f"/{repo}/tar.gz/{self.commit}")
        for path in (f"/{repo}/archive/{self.commit}.tar.gz", f"/api/v3/repos/{repo}/tarball/{self.commit}"):
            self.site.routes[path] = self._moved(target)
        for path, content in files.items():
            self.files.files[f"/{repo}/raw/{path}"] = content
            self.site.routes[f"/{repo}/raw/{self.commit}/{path}"] = self._moved(self._elsewhere(f"/{repo}/raw/{path}"))
            self.site.routes[f"/api/v3/repos/{repo}/contents/{path}"] = self._moved(
                self._elsewhere(f"/{repo}/raw/{path}")
            )
        return archive

    def _asset(self, repo: str, tag: str, name: str, content: bytes, number: int, *, digests: bool) -> dict[str, Any]:
        path = f"/{repo}/{tag}/{name}"
        self.files.files[path] = content
        public = f"/{repo}/releases/download/{tag}/{name}"
        moved = self._moved(self._elsewhere(path))
        self.site.routes[public] = moved
        self.site.routes[f"/api/v3/repos/{repo}/releases/assets/{number}"] = moved
        return {
            "id": number,
            "name": name,
            "size": len(content),
            "url": f"https://api.example/{number}",
            "browser_download_url": self.site.url(public),
            "updated_at": "2026-08-01T00:00:00Z",
            "digest": f"sha256:{sha256(content).hexdigest()}" if digests else None,
        }

    def _elsewhere(self, path: str) -> str:
        return self.files.url(path).replace("127.0.0.1", "localhost")

    def _moved(self, target: str) -> Any:
        def move(handler: Handler, _: bytes) -> None:
            if self._denied(handler):
                return
            handler.answer(302, b"", {"Location": target})

        return move

    def _answer(self, handler: Handler, data: Any) -> None:
        if not self._denied(handler):
            send(handler, data)

    def _denied(self, handler: Handler) -> bool:
        if self.token is None or handler.headers.get("Authorization") == f"Bearer {self.token}":
            return False
        send(handler, {"message": "Not Found"}, 404)
        return True


@contextmanager
def github(token: str | None = None) -> Iterator[GitHub]:
    with file_server() as site, file_server() as files:
        site.missing = json.dumps({"message": "Not Found", "status": "404"}).encode()
        yield GitHub(site=site, files=files, token=token)


def tarball(top: str, files: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    """Make an archive as GitHub makes it: one top folder, directory entries, the commit in a pax header."""
    buffer = io.BytesIO()
    with tarfile.open(
        fileobj=buffer, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers={"comment": "c0ffee"}
    ) as archive:
        folder = tarfile.TarInfo(f"{top}/")
        folder.type = tarfile.DIRTYPE
        archive.addfile(folder)
        for path, content in sorted(files.items()):
            info = tarfile.TarInfo(f"{top}/{path}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
        for path, target in links.items():
            info = tarfile.TarInfo(f"{top}/{path}")
            info.type = tarfile.SYMTYPE
            info.linkname = target
            archive.addfile(info)
    return buffer.getvalue()
