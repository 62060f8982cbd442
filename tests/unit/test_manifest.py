"""The manifest by the daemon's rules: what its own decoder accepts or refuses, read off release 0.6.10."""

import re

import pytest

from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.difypkg.manifest import check_files, parse_yaml, read_manifest
from kit.plugins import skeleton

PLUGIN = skeleton()
MANIFEST = PLUGIN["manifest.yaml"]


def with_line(key: str, value: str) -> bytes:
    """Return the manifest with another value at the top."""
    text, done = re.subn(rf"^{key}: .*$", lambda _: f"{key}: {value}", MANIFEST, flags=re.MULTILINE)
    assert done == 1
    return text.encode()


def without(section: str) -> bytes:
    """Return the manifest without a top key and what stands below it."""
    text, done = re.subn(rf"^{section}:.*\n(  .*\n)*", "", MANIFEST, flags=re.MULTILINE)
    assert done == 1
    return text.encode()


def refusal(content: bytes) -> str:
    with pytest.raises(DifyoffError) as caught:
        read_manifest(content)
    assert caught.value.diagnosis.slug == "manifest-invalid"
    return caught.value.diagnosis.message


def test_reads_what_difyoff_needs() -> None:
    manifest = read_manifest(MANIFEST.encode())

    assert (manifest.author, manifest.name, manifest.version) == ("difyoff", "tiny", "0.1.0")
    assert (manifest.runner, manifest.entrypoint) == ("python", "main")
    assert manifest.architectures == ("amd64", "arm64")
    assert manifest.minimum_dify_version is None
    assert manifest.icons == ("icon.svg",)
    assert manifest.kinds == ("tools",)


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("author", ["a", "a" * 64, "a-b_c", "0", "on", "true", "null_", "&x a", "!foo a"]),
        ("name", ["n" * 128, "5", "a-b_c"]),
        ("version", ["1.0", "1.2.3.4", "1.10", "01.0", "0.0.1-rc1", "0.0.1-" + "a" * 16, "9999.0"]),
        ("created_at", ["2025-06-01", "2025-06-01 12:00:00", "2025-6-1", "'2025-06-01T12:00:00+08:00'", "null", "~"]),
        ("created_at", ["2025-06-01T12:00:00.123456789Z", "2025-06-01t12:00:00Z"]),
        ("icon", ["''", "null"]),
    ],
)
def test_accepts(key: str, values: list[str]) -> None:
    for value in values:
        read_manifest(with_line(key, value))


@pytest.mark.parametrize(
    ("key", "values"),
    [
        ("author", ["A", "a b", "a" * 65, "''", "1.5", "null", "~", "é", "[a]", "{a: b}", "'a\n'"]),
        ("author", ["12345678-1234-1234-1234-123456789abc"]),
        ("name", ["n" * 129, "N", "''", "n.n"]),
        ("version", ["1", "1.2.3.4.5", "0.0.1-", "0.0.1-a.b", "0.0.1-" + "a" * 17, "v1.0", "12345.0", "''", "1.0.0+x"]),
        ("version", ["0.0.1-é", "1e3", "0x1.0"]),
        ("created_at", ["yesterday", "5", "2025-06-01T12:00:00", "2025-06-01 12:00:00 +08:00", "2025-06-01T12:00"]),
        ("created_at", ["2025-06-01t12:00:00z"]),
    ],
)
def test_refuses(key: str, values: list[str]) -> None:
    for value in values:
        assert key in refusal(with_line(key, value)) or "YAML" in refusal(with_line(key, value))


@pytest.mark.parametrize("memory", ["0", "-1", "+5", "1_000", "0x10", "0o10", "0b1", "010", "1.5", "1e3", "null"])
def test_accepts_memory(memory: str) -> None:
    read_manifest(MANIFEST.replace("memory: 1048576", f"memory: {memory}").encode())


@pytest.mark.parametrize("memory", ["lots", "1GB", "inf", "0xg", "[1]"])
def test_refuses_memory(memory: str) -> None:
    assert "memory" in refusal(MANIFEST.replace("memory: 1048576", f"memory: {memory}").encode())


@pytest.mark.parametrize("flag", ["yes", "on", "TRUE", "y", "null", "~"])
def test_accepts_a_permission(flag: str) -> None:
    read_manifest(MANIFEST.replace("enabled: true", f"enabled: {flag}").encode())


@pytest.mark.parametrize("flag", ["1", "maybe"])
def test_refuses_a_permission(flag: str) -> None:
    assert "permission" in refusal(MANIFEST.replace("enabled: true", f"enabled: {flag}").encode())


@pytest.mark.parametrize("key", ["author", "name", "version", "plugins"])
def test_refuses_a_manifest_without(key: str) -> None:
    assert key in refusal(without(key))


@pytest.mark.parametrize("key", ["type", "icon", "created_at", "resource", "meta", "label"])
def test_reads_a_manifest_without(key: str) -> None:
    assert read_manifest(without(key)).name == "tiny"


@pytest.mark.parametrize("extra", ["author: x\n", "unknown: 1\nunknown: 2\n"])
def test_refuses_a_repeated_key_known_or_not(extra: str) -> None:
    assert "is set again" in refusal(MANIFEST.encode() + extra.encode())


def test_reads_the_first_of_several_documents() -> None:
    assert read_manifest(MANIFEST.encode() + b"---\nname: other\n").name == "tiny"


@pytest.mark.parametrize(
    "content",
    [MANIFEST.replace("\n", "\r\n").encode(), b"\xef\xbb\xbf" + MANIFEST.encode(), MANIFEST.encode("utf-16")],
    ids=["crlf", "bom", "utf-16"],
)
def test_reads_other_spellings_of_text(content: bytes) -> None:
    assert read_manifest(content).name == "tiny"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"- a\n",
        b"text",
        MANIFEST.encode() + b"\tx: 1\n",
        b"a: *unknown\n",
        b"\xff\xfe\xfd",
        b"a: " + b"[" * 5000,
        b"a: \x00",
        b"&a [*a, {<<: *a}]",
    ],
)
def test_refuses_what_is_no_mapping(content: bytes) -> None:
    assert "manifest.yaml" in refusal(content)


@pytest.mark.parametrize("level", [b"[", b"{a: ", b"- ", b"? "])
def test_refuses_a_nesting_that_would_overflow_the_stack(level: bytes) -> None:
    assert "not valid YAML" in refusal(level * 300_000)


def test_refuses_a_mixture_of_kinds_but_for_tools_with_endpoints() -> None:
    tools = "  tools:\n  - provider/tiny.yaml\n"
    assert tools in MANIFEST

    read_manifest(MANIFEST.replace(tools, f"{tools}  endpoints:\n  - e.yaml\n").encode())

    assert "tools and models" in refusal(MANIFEST.replace(tools, f"{tools}  models:\n  - m.yaml\n").encode())


def check(files: dict[str, str]) -> None:
    """Check the files of a plugin, as at upload."""
    check_files(read_manifest(files["manifest.yaml"].encode()), files, lambda path: files[path].encode())


def problem(files: dict[str, str]) -> tuple[str, str]:
    with pytest.raises(DifyoffError) as caught:
        check(files)
    return caught.value.diagnosis.slug, caught.value.diagnosis.message


def test_every_file_that_is_named_must_be_there() -> None:
    check(PLUGIN)

    for path, slug in [
        ("provider/tiny.yaml", "manifest-invalid"),
        ("tools/hello.yaml", "declaration-invalid"),
        ("_assets/icon.svg", "asset-missing"),
    ]:
        missing = {name: text for name, text in PLUGIN.items() if name != path}
        seen, message = problem(missing)
        assert seen == slug
        assert path in message


@pytest.mark.parametrize("path", ["provider/tiny.yaml", "tools/hello.yaml"])
def test_every_file_that_is_named_must_be_yaml(path: str) -> None:
    slug, message = problem(PLUGIN | {path: "a: [\n"})

    assert slug == "declaration-invalid"
    assert message.startswith(f"{path}:2:1: not valid YAML")


def model_plugin(patterns: str) -> dict[str, str]:
    manifest = MANIFEST.replace("  tools:\n  - provider/tiny.yaml\n", "  models:\n  - provider/tiny.yaml\n")
    provider = f"""\
provider: tiny
icon_small:
  en_US: small.svg
models:
  llm:
    predefined: [{patterns}]
    position: models/_position.yaml
"""
    return {
        "manifest.yaml": manifest,
        "_assets/icon.svg": "",
        "_assets/small.svg": "",
        "provider/tiny.yaml": provider,
        "models/_position.yaml": "- one\n",
        "models/one.yaml": "model: one\n",
    }


def test_the_patterns_of_a_model_provider_are_followed() -> None:
    broken = model_plugin("models/*.yaml") | {"models/two.yaml": "a: [\n", "models/deep/three.yaml": "a: [\n"}

    assert problem(broken)[1].startswith("models/two.yaml:2:1: not valid YAML")
    del broken["models/two.yaml"]
    check(broken)  # a star does not cross a folder
    assert problem(model_plugin("'models/[*.yaml'"))[1] == (
        "provider/tiny.yaml:6:18: the pattern 'models/[*.yaml' is malformed"
    )


@pytest.mark.parametrize("path", ["_assets/small.svg", "models/_position.yaml"])
def test_a_model_providers_icons_and_positions_must_be_there(path: str) -> None:
    files = model_plugin("models/*.yaml")
    del files[path]

    assert path in problem(files)[1]


def test_scalars_stay_the_text_they_are() -> None:
    assert parse_yaml(b"[1.10, yes, 0x1F, 2024-01-01, ~]", "a.yaml") == ["1.10", "yes", "0x1F", "2024-01-01", "~"]
    assert parse_yaml(b"a: &x {b: [c]}\nd: *x\n", "a.yaml") == {"a": {"b": ["c"]}, "d": {"b": ["c"]}}
    assert parse_yaml(b"[" * 500 + b"]" * 500, "a.yaml") is not None


def test_folded_texts_and_unknown_keys_do_no_harm() -> None:
    text = (
        MANIFEST.replace("en_US: Says hello.", "en_US: >-\n    Says\n    hello.") + "verified: false\nx-extra: [1, 2]\n"
    )

    assert read_manifest(text.encode()).kinds == ("tools",)
