"""A plugin's YAML files held to the daemon's declared types, beside answers of the daemon's own code."""

import hashlib
from collections import defaultdict
from pathlib import Path

import pytest

from difyoff.difypkg.declarations.decode import read_declaration
from difyoff.difypkg.declarations.scalars import is_decimal, is_rfc3339, is_timestamp, resolve
from difyoff.difypkg.declarations.tree import Budget, BudgetError
from difyoff.difypkg.declarations.types import Record, records
from difyoff.difypkg.diagnosis import DifyoffError
from difyoff.difypkg.manifest import check_files, file_faults, manifest_faults, read_manifest
from kit.declarations import CHANGES, KINDS, VALUES, Case, cases, find_faults, is_refused, sample, whole_plugin, write
from kit.plugins import skeleton

VERDICTS = Path(__file__).parents[2] / "fixtures" / "declarations" / "verdicts.tsv"


def recorded() -> list[tuple[Case, str, dict[str, bool]]]:
    """Return cases, the beginning of their files' SHA-256, and which releases took them."""
    known = {(case.kind, case.record, ".".join(map(str, case.path)), case.change): case for case in cases()}
    rows = []
    for line in VERDICTS.read_text(encoding="utf-8").splitlines():
        kind, record, path, change, digest, verdicts = line.split("\t")
        taken = {
            release: verdict == "takes" for release, _, verdict in (each.partition("=") for each in verdicts.split())
        }
        rows.append((known[kind, record, path, change], digest, taken))
    return rows


def test_what_the_daemon_takes_and_refuses() -> None:
    wrong = defaultdict(list)
    for case, digest, taken in recorded():
        assert hashlib.sha256(case.content).hexdigest().startswith(digest), (
            f"record anew, the file is another: {case.name}"
        )
        faults = find_faults(case.files)
        for release, yes in taken.items():
            if is_refused(faults, release) is yes:
                wrong[case.name].append((release, faults))
    assert not wrong


def test_the_recorded_answers_are_of_every_kind() -> None:
    rows = recorded()
    assert {case.record for case, _, _ in rows} >= {record for pair in KINDS.values() for record in pair} | {"Manifest"}
    assert {case.change for case, _, _ in rows} >= {*VALUES, *CHANGES}
    assert {yes for _, _, taken in rows for yes in taken.values()} == {True, False}


@pytest.mark.parametrize("kind", KINDS)
def test_a_whole_plugin_has_no_fault(kind: str) -> None:
    assert find_faults({path: write(tree).encode() for path, tree in whole_plugin(kind).items()}) == ()


def test_every_type_is_in_a_whole_plugin() -> None:
    seen: set[str] = set()

    def note(name: str) -> None:
        if name not in seen:
            seen.add(name)
            for field in records()[name].fields.values():
                inner = field.type
                while not isinstance(inner, Record) and hasattr(inner, "item"):
                    inner = inner.item
                if isinstance(inner, Record):
                    note(inner.name)

    for name in ("Manifest", "SubscriptionConstructor", *(record for pair in KINDS.values() for record in pair)):
        note(name)
        assert sample(records()[name])
    assert seen == set(records())


# --- What is told ----------------------------------------------------------------------------------------------------

TOOL = """\
identity:
  name: hello
parameters:
- name: text
  required: "true"
  min: "1"
  options: none
- name: more
  required: 1
output_schema: [a]
identity: {}
"""


def refusals(tool: str) -> list[str]:
    files = skeleton() | {"tools/hello.yaml": tool}
    manifest = read_manifest(files["manifest.yaml"].encode())
    return [fault.diagnosis.message for fault in file_faults(manifest, files, lambda path: files[path].encode())]


def test_every_fault_of_a_file_is_told_in_one_run_with_line_and_column() -> None:
    assert refusals(TOOL) == [
        "tools/hello.yaml:5:13: parameters[0].required is the text 'true', and the daemon reads true or false there",
        "tools/hello.yaml:6:8: parameters[0].min is the text '1', and the daemon reads a number there",
        "tools/hello.yaml:7:12: parameters[0].options is the text 'none', and the daemon reads a list there",
        "tools/hello.yaml:9:13: parameters[1].required is the number 1, and the daemon reads true or false there",
        "tools/hello.yaml:10:16: output_schema is a list, and the daemon reads a mapping there",
        "tools/hello.yaml:11:1: the key 'identity' is set again, first in line 1",
    ]


def test_several_faults_of_several_files_are_one_error() -> None:
    files = skeleton() | {
        "tools/hello.yaml": TOOL,
        "provider/tiny.yaml": "tools: [tools/hello.yaml]\noauth_schema: 5\n",
    }
    manifest = read_manifest(files["manifest.yaml"].encode())

    with pytest.raises(DifyoffError) as caught:
        check_files(manifest, files, lambda path: files[path].encode())

    diagnosis = caught.value.diagnosis
    assert diagnosis.slug == "declaration-invalid"
    assert diagnosis.message.endswith("(and 6 more)")
    assert {line.partition(":")[0] for line in diagnosis.context} == {"provider/tiny.yaml", "tools/hello.yaml"}


def test_every_fault_of_the_manifest_is_told_in_one_run() -> None:
    text = (
        skeleton()["manifest.yaml"]
        .replace("memory: 1048576", 'memory: "1048576"')
        .replace("author: difyoff", "author: A")
    )

    faults = manifest_faults(text.encode())

    assert [fault.diagnosis.message for fault in faults] == [
        "manifest.yaml:14:11: resource.memory is the text '1048576', and the daemon reads a whole number there",
        "manifest.yaml:3:9: author 'A' does not match ^[a-z0-9_-]{1,64}$",
    ]
    assert {fault.diagnosis.slug for fault in faults} == {"manifest-invalid"}


@pytest.mark.parametrize(
    ("value", "advice"),
    [('"true"', "Remove the quotes."), ("1", "Write true or false."), ('"1"', "Write true or false."), ("[]", None)],
)
def test_the_next_step_is_plain_where_there_is_one(value: str, advice: str | None) -> None:
    read = read_declaration(f"has_runtime_parameters: {value}\n".encode(), records()["Tool"], Budget())

    assert [problem.advice for problem in read.problems] == [advice]


@pytest.mark.parametrize(
    ("tool", "message"),
    [
        ("output_schema: {a: {1: x}}", "1:21: output_schema: the key '1' is not a text, and JSON has no other keys"),
        ("output_schema: {a: {~: x}}", "1:21: output_schema: the key '~' is not a text, and JSON has no other keys"),
        ("output_schema: {a: .nan}", "1:20: output_schema: .nan is a number that JSON does not have"),
        ("parameters: [{default: -.inf}]", "1:24: parameters[0].default: -.inf is a number that JSON does not have"),
        ("parameters: [{max: .inf}]", "1:20: parameters[0].max: .inf is a number that JSON does not have"),
        ("output_schema: {1: x}", None),  # a mapping from texts: the key is one
        ("output_schema: {a: {'1': x, true-ish: y}}", None),
        ("unknown: {a: {1: .inf}}", None),
    ],
)
def test_what_the_daemon_cannot_store_is_refused(tool: str, message: str | None) -> None:
    assert refusals(tool) == ([f"tools/hello.yaml:{message}"] if message else [])


def test_the_properties_of_a_model_may_have_any_keys() -> None:
    read = read_declaration(b"model_properties: {sizes: {1: a, 2: b}}", records()["Model"], Budget())

    assert read.problems == ()


def test_a_tab_is_called_a_tab() -> None:
    assert refusals("identity:\n\tname: hello\n") == [
        "tools/hello.yaml:2:1: not valid YAML: a tab stands where YAML takes spaces only"
    ]


# --- Releases --------------------------------------------------------------------------------------------------------


def model_files(form: str) -> dict[str, str]:
    manifest = skeleton()["manifest.yaml"].replace("  tools:\n", "  models:\n")
    provider = (
        f"provider: tiny\nprovider_credential_schema:\n  credential_form_schemas:\n  - variable: key\n    {form}\n"
    )
    return skeleton() | {"manifest.yaml": manifest, "provider/tiny.yaml": provider}


def test_a_fault_says_which_releases_refuse_it() -> None:
    files = model_files("help: [not, a, mapping]")
    manifest = read_manifest(files["manifest.yaml"].encode())

    (fault,) = file_faults(manifest, files, lambda path: files[path].encode())

    assert fault.since == "0.6.9"
    assert fault.diagnosis.note is not None
    assert "from 0.6.9 on" in fault.diagnosis.note
    assert [is_refused([fault], release) for release in ("0.5.2", "0.6.8", "0.6.9", "0.6.10")] == [
        False,
        False,
        True,
        True,
    ]


def test_a_release_that_does_not_read_a_key_reads_on_behind_it() -> None:
    files = model_files("help: {<<: text}\n    required: 'true'")
    manifest = read_manifest(files["manifest.yaml"].encode())

    faults = list(file_faults(manifest, files, lambda path: files[path].encode()))

    assert [fault.since for fault in faults] == ["0.6.9", None]


def test_what_only_some_releases_refuse_is_a_finding_of_the_builder() -> None:
    files = model_files("url: {a: b}")
    manifest = read_manifest(files["manifest.yaml"].encode())

    findings = check_files(manifest, files, lambda path: files[path].encode())

    assert [finding.slug for finding in findings] == ["declaration-invalid"]


# --- Resources -------------------------------------------------------------------------------------------------------


def test_thirty_thousand_keys_are_read() -> None:
    text = "".join(f"key{number}: {number}\n" for number in range(30_000))

    assert refusals(f"identity: {{}}\n{text}") == []
    assert refusals(f"identity: {{}}\n{text}key7: again\n") == [
        "tools/hello.yaml:30002:1: the key 'key7' is set again, first in line 9"
    ]


def test_a_bomb_of_aliases_is_refused() -> None:
    lines = ["output_schema:", "  a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"  a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]

    (message,) = refusals("\n".join(lines))

    assert "aliases" in message


def test_a_list_that_holds_itself_is_refused() -> None:
    (message,) = refusals("output_schema: {a: &loop [*loop]}\n")

    assert "contains itself" in message


@pytest.mark.parametrize("level", ["[", "{a: ", "- ", "? "])
def test_a_file_nested_too_deep_is_refused(level: str) -> None:
    (message,) = refusals(level * 100_000)

    assert "not valid YAML" in message


@pytest.mark.parametrize("content", [b"a: [" + b"1," * 200_000 + b"]", b"a: [" + b"[1]," * 100_000 + b"]"])
def test_more_than_a_plugin_ever_has_is_not_read(content: bytes) -> None:
    files = skeleton()
    manifest = read_manifest(files["manifest.yaml"].encode())

    faults = list(file_faults(manifest, files, lambda path: content if "hello" in path else files[path].encode()))

    assert [fault.diagnosis.slug for fault in faults] == ["declaration-invalid"]
    assert "200,000" in faults[0].diagnosis.message


def test_all_files_share_one_budget() -> None:
    budget = Budget(steps=5_000)
    content = b"output_schema: {a: [" + b"1," * 2_000 + b"]}"
    read_declaration(content, records()["Tool"], budget)

    with pytest.raises(BudgetError):
        read_declaration(content, records()["Tool"], budget)


# --- Scalars ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("5", "int"), ("+5", "int"), ("-0x1F", "int"), ("0o17", "int"), ("017", "int"), ("0b11", "int"), ("1_0", "int"),
        ("18446744073709551615", "int"), ("08", "float"), ("1e3", "float"), (".5", "float"), ("5.", "float"),
        ("99999999999999999999", "float"), (".inf", "float"), ("-.INF", "float"), (".NaN", "float"), ("1e999", "str"),
        ("true", "bool"), ("TRUE", "bool"), ("tRUE", "str"), ("yes", "str"), ("~", "null"), ("", "null"),
        ("Null", "null"),
        ("2025-06-01", "timestamp"), ("2025-02-29", "str"), ("0x", "str"), ("1 2", "str"), ("\u0661", "str"),
        (".", "str"),
    ],
)  # fmt: skip
def test_a_plain_scalar_is_what_the_daemon_takes_it_for(text: str, tag: str) -> None:
    assert resolve(text)[0] == f"!!{tag}"


@pytest.mark.parametrize(
    ("text", "yaml", "quoted"),
    [
        ("2025-06-01T12:00:00Z", True, True),
        ("2025-06-01T12:00:00.123456789+08:00", True, True),
        ("2025-06-01T1:00:00,5Z", True, True),
        ("2025-06-01", True, False),
        ("2025-6-1", True, False),
        ("2025-06-01  12:00:00", True, False),
        ("2025-06-01t12:00:00Z", True, False),
        ("2024-02-29T00:00:00-24:60", True, True),
        ("0000-01-01", True, False),
        ("2025-06-01T12:00:00", False, False),
        ("2025-06-01T24:00:00Z", False, False),
        ("2025-13-01", False, False),
        ("2025-06-01 12:00:00Z", False, False),
    ],
)
def test_times(text: str, yaml: bool, quoted: bool) -> None:
    assert (is_timestamp(text), is_rfc3339(text)) == (yaml, quoted)


@pytest.mark.parametrize("text", ["0.01", "1", "-1.5", "+2", "1e3", "1.5E-3", ".5", "5.", "1" * 40])
def test_prices(text: str) -> None:
    assert is_decimal(text)


@pytest.mark.parametrize(
    "text", ["", "free", "1,5", "1.2.3", "1e", "e3", "1_000", "0x10", "1e99999999999", "-", "\u0661"]
)
def test_no_prices(text: str) -> None:
    assert not is_decimal(text)
