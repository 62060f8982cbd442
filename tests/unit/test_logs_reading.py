"""What users paste, bare and wrapped in all that logs wrap around it, and what is made of it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difyoff.difypkg.diagnosis import page
from difyoff.difypkg.identity import Identity
from difyoff.difypkg.logs.decoding import log_lines
from difyoff.difypkg.logs.failures import log_rules
from difyoff.difypkg.logs.plugins import SeenPlugin, compare_identity
from difyoff.difypkg.logs.reading import diagnose_log

FIXTURES = Path(__file__).parents[2] / "fixtures"
SYMPTOMS = sorted((FIXTURES / "symptoms").glob("*.txt"))
RECORDED = sorted((FIXTURES / "uv-logs").glob("*/*.txt"))
NEITHER = "wrong-wheel-tag"  # which of the two tags it is, only the wheels' names tell: see test_uvtext
TAGS = {"wrong-python-tag", "wrong-platform"}

CHECKSUM, OTHER = "5f1c" * 16, "0a2b" * 16
PLUGIN = f"acme/demo:0.0.1@{CHECKSUM}"
FOLDER = f"/app/storage/cwd/acme/demo-0.0.1@{CHECKSUM}"

Wrap = Callable[[str], list[str]]


def bare(text: str) -> list[str]:
    return text.splitlines()


def compose(text: str) -> list[str]:
    return [f"plugin_daemon-1  | {line}" for line in text.splitlines()]


def dated(text: str) -> list[str]:
    return [f"docker-plugin_daemon-1  | 2026-04-01T10:00:00.123456789Z ERROR {line}" for line in text.splitlines()]


def go_log(text: str) -> list[str]:
    """As daemons up to 0.4.1 print: one prefix and a colour before a text of many lines."""
    prefix = (
        "2025/11/05 12:00:00 full_duplex.go:65: \x1b[31m[ERROR]init environment failed: failed to install dependencies"
    )
    return f"{prefix}: exit status 1, output: {text}, retrying\x1b[0m".splitlines()


def key_value(text: str) -> list[str]:
    """As daemons from 0.5.3 on print: one line, the error quoted."""
    head = "2026-04-01T10:00:00.123456789Z ERROR dify-plugin-daemon installer.go:337 task failed"
    return [f'{head} plugin="{PLUGIN}" error={json.dumps(text)}']


def json_record(text: str) -> list[str]:
    attributes = {"plugin": PLUGIN, "error": text}
    return [json.dumps({"ts": "2026", "severity": "ERROR", "message": "task failed", "attributes": attributes})]


def json_records(text: str) -> list[str]:
    return [json.dumps({"log": f"{line}\n", "stream": "stderr", "time": "2026"}) for line in text.splitlines()]


def reply(text: str) -> list[str]:
    """As the daemon answers over HTTP: JSON within JSON."""
    inner = json.dumps({"message": text, "error_type": "PluginDaemonInternalServerError", "args": None})
    return [json.dumps({"code": -500, "message": inner, "data": None})]


def reply_cut_short(text: str) -> list[str]:
    return [reply(text)[0][:-3]]


def task_message(text: str) -> list[str]:
    """As the install task tells it."""
    return f"failed to launch plugin: failed to install dependencies: exit status 2, output: {text}".splitlines()


WRAPS: list[Wrap] = [bare, compose, dated, key_value, json_record, json_records, reply, reply_cut_short]


def told(path: Path) -> str:
    return path.name.split(".")[0]


@pytest.mark.parametrize("path", SYMPTOMS, ids=lambda path: path.stem)
def test_symptom_is_told_right_in_every_wrapping(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    found = {wrap.__name__: diagnose_log(wrap(text)) for wrap in WRAPS}
    assert {wrap: one.cause.slug for wrap, one in found.items()} == dict.fromkeys(found, told(path))
    assert all(one.complete and one.cause.hint and one.cause.context for one in found.values())


@pytest.mark.parametrize("wrap", [go_log, task_message], ids=lambda wrap: wrap.__name__)
@pytest.mark.parametrize("version", sorted({path.parent.name for path in RECORDED}))
def test_recorded_output_is_told_right_in_a_log(version: str, wrap: Wrap) -> None:
    paths = [path for path in RECORDED if path.parent.name == version]
    found = {path: diagnose_log(wrap(path.read_text(encoding="utf-8"))) for path in paths}
    wrong = {path.stem: one.cause for path, one in found.items() if one.cause.slug != told(path) or not one.sure}
    assert {stem.split(".")[0] for stem in wrong} <= TAGS
    assert {cause.slug for cause in wrong.values()} <= {NEITHER}


@pytest.mark.parametrize("path", SYMPTOMS, ids=lambda path: path.stem)
def test_half_a_symptom_never_claims_another_cause(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for half in (text[: len(text) // 2], text[len(text) // 2 :]):
        found = diagnose_log(half.splitlines())
        # The half that is left names what happened, the other one why.
        seen = {"mirror-unreachable": "index-not-disabled", "nothing-installed": "plugin-does-not-start"}.get(
            told(path)
        )
        assert not found.sure or found.cause.slug in {told(path), seen}


@pytest.mark.parametrize(
    ("symptom", "half"),
    [
        ("index-not-disabled.setuptools", "first"),
        ("index-not-disabled.setuptools", "last"),
        ("wrong-wheel-tag.cannot-be-used", "first"),
        ("universal-resolution.cffi", "first"),
        ("universal-resolution.cffi", "last"),
        ("universal-resolution.colorama", "first"),
        ("nothing-installed.no-sdk", "last"),
        ("bad-signature.upload", "last"),
        ("request-too-large.nginx", "first"),
        ("cause-swallowed.too-many-times", "first"),
    ],
)
def test_half_a_symptom_is_told_right_where_it_decides(symptom: str, half: str) -> None:
    text = (FIXTURES / "symptoms" / f"{symptom}.txt").read_text(encoding="utf-8")
    middle = len(text) // 2
    found = diagnose_log((text[: middle + 15] if half == "first" else text[middle:]).splitlines())
    assert found.cause.slug == symptom.split(".")[0]


@pytest.mark.parametrize(
    "symptom",
    [
        "index-not-disabled.timed-out",
        "wrong-wheel-tag.cannot-be-used",
        "cause-swallowed.too-many-times",
        "storage-permission.bare",
        "install-timed-out.killed",
    ],
)
def test_what_does_not_decide_says_so(symptom: str) -> None:
    found = diagnose_log((FIXTURES / "symptoms" / f"{symptom}.txt").read_text(encoding="utf-8").splitlines())
    assert not found.sure
    assert found.cause.note


def test_the_consoles_cut_in_the_middle() -> None:
    text = (FIXTURES / "uv-logs/0.13.8/missing-wheel.transitive.sync.txt").read_text(encoding="utf-8")
    long = f"failed to launch plugin: failed to install dependencies: exit status 1, output: {text}" + "x" * 1000
    found = diagnose_log((long[:512] + "..." + long[-512:] + "\nfailed to init environment").splitlines())
    assert found.cause.slug == "missing-wheel"


def test_the_swallowed_cause_is_found_further_up() -> None:
    cause = (FIXTURES / "uv-logs/0.8.22/missing-wheel.transitive.sync.txt").read_text(encoding="utf-8")
    swallowed = (FIXTURES / "symptoms/cause-swallowed.too-many-times.txt").read_text(encoding="utf-8")
    noise = ["plugin_daemon-1  | 2025/11/05 12:00:01 [INFO]GET /health/check 200"] * 5000
    found = diagnose_log([*go_log(cause), *noise, *compose(swallowed)])
    assert found.cause.slug == "missing-wheel"


def test_of_several_failures_the_last_one_counts() -> None:
    first = (FIXTURES / "uv-logs/0.9.26/index-not-disabled.original.pip.txt").read_text(encoding="utf-8")
    second = (FIXTURES / "symptoms/bad-signature.upload.txt").read_text(encoding="utf-8")
    noise = ["plugin_daemon-1  | 2025/11/05 12:00:01 [INFO]GET /health/check 200"] * 100
    assert diagnose_log([*bare(first), *noise, *key_value(second), *noise]).cause.slug == "bad-signature"
    assert diagnose_log([*key_value(second), *noise, *bare(first), *noise]).cause.slug == "index-not-disabled"


def test_nothing_known() -> None:
    found = diagnose_log(["2026/04/01 INFO all is well", ""])
    assert found.cause.slug == "cause-not-found"
    assert not found.sure
    assert found.cause.hint
    assert diagnose_log([]).cause.slug == "cause-not-found"


@pytest.mark.parametrize(
    ("line", "plugin"),
    [
        (f"installing plugin {PLUGIN}", PLUGIN),
        (f'{{"plugin_unique_identifier": "{PLUGIN}", "message": "x"}}', PLUGIN),
        (f"Building demo @ file://{FOLDER}", PLUGIN),
        ("init environment for plugin acme/demo:0.0.1 failed too many times", "acme/demo:0.0.1"),
        (f"/app/storage/cwd/acme/my-demo-2-1.0.0-rc1@{CHECKSUM}/wheels", f"acme/my-demo-2:1.0.0-rc1@{CHECKSUM}"),
    ],
)
def test_plugins_are_seen(line: str, plugin: str) -> None:
    assert [str(seen) for seen in diagnose_log([line]).plugins] == [plugin]


@pytest.mark.parametrize(
    "line", ["image: langgenius/dify-plugin-daemon:0.6.10-local", "a@b", "plugin x/y", f"@{CHECKSUM}"]
)
def test_what_is_no_plugin_is_not_seen(line: str) -> None:
    assert diagnose_log([line]).plugins == ()


def test_the_plugin_nearest_to_the_cause_comes_first() -> None:
    lines = [
        f"installing plugin beta/far:1.0.0@{OTHER}",
        *["noise"] * 50,
        f"installing plugin {PLUGIN}",
        "read wheels: is a directory",
        *["noise"] * 50,
        f"installing plugin gamma/later:1.0.0@{OTHER}",
    ]
    assert [seen.name for seen in diagnose_log(lines).plugins] == ["demo", "later", "far"]


def seen(checksum: str, *, version: str = "0.0.1") -> SeenPlugin:
    return SeenPlugin(author="acme", name="demo", version=version, checksum=checksum)


def test_the_original_was_installed() -> None:
    package = Identity(author="acme", name="demo", version="0.0.1", checksum=CHECKSUM)
    finding = compare_identity([seen(""), seen(OTHER)], package)
    assert finding is not None
    assert finding.slug == "original-installed"
    assert page(finding.slug).text
    assert OTHER in " ".join(finding.context)
    assert CHECKSUM in " ".join(finding.context)


@pytest.mark.parametrize("plugins", [[], [seen("")], [seen(OTHER), seen(CHECKSUM)], [seen(OTHER, version="0.0.2")]])
def test_no_finding_where_the_log_does_not_contradict(plugins: list[SeenPlugin]) -> None:
    package = Identity(author="acme", name="demo", version="0.0.1", checksum=CHECKSUM)
    assert compare_identity(plugins, package) is None


class Endless:
    """A stream without an end, of one unbroken line or of many."""

    def __init__(self, unit: bytes) -> None:
        self.unit = unit
        self.given = 0

    def read1(self, size: int = -1, /) -> bytes:
        assert size > 0
        self.given += size
        return (self.unit * (size // len(self.unit) + 1))[:size] if b"\n" not in self.unit else self.unit


@pytest.mark.parametrize("unit", [b"\0", b"a", b"y\n", b"{", b"\\n", b"\xff", b"read x: is a directory "])
def test_endless_input_ends(unit: bytes) -> None:
    stream = Endless(unit)
    found = diagnose_log(log_lines(stream), limit=2_000_000)
    assert not found.complete
    assert found.cause.slug in {"cause-not-found", "directory-entry"}


def test_a_followed_log_can_be_interrupted() -> None:
    def followed() -> Iterator[str]:
        yield "read wheels: is a directory"
        raise KeyboardInterrupt

    found = diagnose_log(followed())
    assert found.cause.slug == "directory-entry"
    assert not found.complete


def test_a_long_line_holds_its_cause_anywhere() -> None:
    cause = "Because certifi was not found in the provided package locations and tqdm==1.0 depends on certifi>=2024"
    found = diagnose_log(["x" * 300_000 + " " + cause + " " + "y" * 300_000])
    assert found.cause.slug == "missing-wheel"
    assert "certifi" in " ".join(found.cause.context)


def test_every_rule_has_a_page_and_can_fill_its_sentences() -> None:
    for rule in log_rules():
        assert page(rule.slug).text
        groups = dict.fromkeys(rule.pattern.groupindex, "x")
        assert rule.message.format_map(groups)
        assert rule.hint.format_map(groups)
    for slug in ("cause-not-found", "original-installed"):
        assert page(slug).text


WORDS = sorted({key for rule in log_rules() for key in rule.keys})
JUNK = ['{"', '"}', "\\n", '\\"', "\\u00", "| ", "2026-01-01T00:00:00Z ", "[ERROR]", "\x1b[31m", "a/b:1.0@", "[" * 50]


@given(st.lists(st.one_of(st.sampled_from([*WORDS, *JUNK]), st.text(max_size=20)), max_size=60))
@settings(deadline=None)
def test_any_log_is_survived(parts: list[str]) -> None:
    assert diagnose_log("".join(parts).split("\n")).cause.message


@pytest.mark.timeout(60)
@pytest.mark.parametrize("unit", ["/storage", "plugin ", "a/b-1.0", *JUNK, *WORDS[::3]])
def test_no_rule_runs_away(unit: str) -> None:
    """A pattern that backtracks without bounds takes hours over this; the rules take milliseconds."""
    assert diagnose_log([unit * (200_000 // len(unit)) + " " + " ".join(WORDS)]).cause.message
