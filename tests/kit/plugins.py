"""Plugin folders and packages: what the daemon accepts, zipped as Dify's own packager zips, and strange variants."""

import io
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

PYPROJECT = """\
[project]
name = "tiny"
version = "0.1.0"
description = "A tiny plugin"
requires-python = ">=3.12"
dependencies = [
    "dify_plugin>=0.9.0",
]

[dependency-groups]
dev = ["black"]
"""


def skeleton(name: str = "tiny", version: str = "0.1.0", author: str = "difyoff") -> dict[str, str]:
    """Return the files of a tool plugin that the daemon accepts, all but its dependency file."""
    return {
        "manifest.yaml": f"""\
version: {version}
type: plugin
author: {author}
name: {name}
label:
  en_US: Tiny
  zh_Hans: 微
description:
  en_US: Says hello.
  zh_Hans: 打招呼。
icon: icon.svg
created_at: '2025-06-01T12:00:00Z'
resource:
  memory: 1048576
  permission:
    tool:
      enabled: true
plugins:
  tools:
  - provider/{name}.yaml
meta:
  version: 0.0.1
  arch:
  - amd64
  - arm64
  runner:
    language: python
    version: '3.12'
    entrypoint: main
""",
        f"provider/{name}.yaml": f"""\
identity:
  author: {author}
  name: {name}
  label:
    en_US: Tiny
  description:
    en_US: Says hello.
  icon: icon.svg
tools:
- tools/hello.yaml
extra:
  python:
    source: provider/{name}.py
""",
        f"provider/{name}.py": """\
from dify_plugin import ToolProvider


class TinyProvider(ToolProvider):
    def _validate_credentials(self, credentials):
        pass
""",
        "tools/hello.yaml": f"""\
identity:
  author: {author}
  name: hello
  label:
    en_US: Hello
description:
  human:
    en_US: Says hello.
  llm: Says hello.
parameters: []
extra:
  python:
    source: tools/hello.py
""",
        "tools/hello.py": """\
from dify_plugin import Tool


class HelloTool(Tool):
    def _invoke(self, tool_parameters):
        yield self.create_text_message("hello")
""",
        "_assets/icon.svg": '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 8 8"><path d="M1 1h6v6z"/></svg>\n',
        "main.py": """\
from dify_plugin import DifyPluginEnv, Plugin

plugin = Plugin(DifyPluginEnv(MAX_REQUEST_TIMEOUT=120))

if __name__ == "__main__":
    plugin.run()
""",
        "README.md": "# Tiny\n",
    }


def write_plugin(
    folder: Path,
    *,
    name: str = "tiny",
    version: str = "0.1.0",
    author: str = "difyoff",
    pyproject: str | None = PYPROJECT,
    requirements: str | bytes | None = None,
    files: Mapping[str, str | bytes | None] | None = None,
) -> Path:
    """Write a plugin folder and return it. `files` adds to it or, with None, leaves a file out."""
    contents: dict[str, str | bytes | None] = dict(skeleton(name, version, author))
    contents["pyproject.toml"] = pyproject
    contents["requirements.txt"] = requirements
    contents |= files or {}
    for path, content in contents.items():
        if content is not None:
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
    return folder


def pack(
    folder: Path,
    package: Path,
    *,
    directories: bool = False,
    again: Iterable[tuple[str, bytes]] = (),
    comment: bytes = b"",
    prefix: bytes = b"",
    compression: int = zipfile.ZIP_DEFLATED,
) -> Path:
    """Zip a plugin folder as Dify's packager does (files only, sorted, Deflate, no times) and return the package.

    `directories` adds directory entries, `again` adds entries behind the others (duplicates, say), `comment` is the
    archive's comment, where a signature stands, `prefix` is junk before the archive. Ignore files are not applied.
    """
    buffer = io.BytesIO(prefix)
    buffer.seek(len(prefix))
    with zipfile.ZipFile(buffer, "a" if prefix else "w", compression) as archive:
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_dir():
                if directories:
                    archive.writestr(zipfile.ZipInfo(f"{name}/"), b"")
                continue
            archive.writestr(_entry(name, compression), path.read_bytes())
        for name, data in again:
            archive.writestr(_entry(name, compression), data)
        archive.comment = comment
    package.parent.mkdir(parents=True, exist_ok=True)
    package.write_bytes(buffer.getvalue())
    return package


def _entry(name: str, compression: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = compression
    return info
