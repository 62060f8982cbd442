"""What uv says over broken packages, recorded with six of its versions, and what is made of it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from difyoff.difypkg.diagnosis import page
from difyoff.difypkg.textrules import flatten
from difyoff.difypkg.uvtext import diagnose_resolution, diagnose_uv, missing_distributions, uv_rules

RECORDED = sorted((Path(__file__).parents[2] / "fixtures" / "uv-logs").glob("*/*.txt"))
VERSIONS = sorted({path.parent.name for path in RECORDED})
RESOLVING = sorted((Path(__file__).parents[2] / "fixtures" / "uv-logs").glob("*/resolving/*.txt"))
GEVENT = {
    "wrong-python-tag": "gevent-1.0-cp313-cp313-manylinux_2_17_x86_64.whl",
    "wrong-platform": "gevent-1.0-cp312-cp312-macosx_11_0_arm64.whl",
}
LOCKED_ELSEWHERE = """\
error: Failed to download `tqdm==4.67.1`
  Caused by: Failed to fetch: `https://mirror:secret@files.example/tqdm-4.67.1-py3-none-any.whl`
  Caused by: dns error
"""


def recorded(version: str) -> list[Path]:
    return [path for path in RECORDED if path.parent.name == version]


def told(path: Path) -> str:
    return path.name.split(".")[0]


def test_every_shelf_slug_is_recorded() -> None:
    assert {told(path) for path in RECORDED} >= {
        "missing-wheel",
        "wrong-python-tag",
        "wrong-platform",
        "lock-pins-remote-urls",
        "dev-group-unavailable",
        "universal-resolution",
        "source-build-needed",
        "build-backend-needed",
        "python-version-mismatch",
        "index-not-disabled",
        "tampered-wheel",
        "nothing-installed",
    }


@pytest.mark.parametrize("version", VERSIONS)
def test_recorded_output_is_told_right(version: str) -> None:
    wrong = {}
    for path in recorded(version):
        text, slug = path.read_text(encoding="utf-8"), told(path)
        diagnosis = diagnose_uv(text, wheels=[GEVENT[slug]] if slug in GEVENT else [])
        if diagnosis is None or diagnosis.slug != slug or "?" in diagnosis.message or not diagnosis.hint:
            wrong[path.stem] = diagnosis
        else:
            assert diagnosis.context[0].strip("…") in " ".join(text.split())
    assert not wrong


@pytest.mark.parametrize("version", VERSIONS)
def test_without_wheel_names_at_most_the_tag_stays_open(version: str) -> None:
    slugs = {path: getattr(diagnose_uv(path.read_text(encoding="utf-8")), "slug", None) for path in recorded(version)}
    wrong = {path.stem: slug for path, slug in slugs.items() if slug != told(path)}
    assert set(wrong.values()) <= {"wrong-wheel-tag"}
    assert {stem.split(".")[0] for stem in wrong} <= GEVENT.keys()


@pytest.mark.parametrize("version", VERSIONS)
def test_colours_and_line_ends_change_nothing(version: str) -> None:
    for path in recorded(version):
        text = path.read_text(encoding="utf-8")
        coloured = text.replace("error", "\x1b[1m\x1b[31merror\x1b[0m").replace("─▶", "\x1b[31m─▶\x1b[0m")
        assert diagnose_uv(coloured.replace("\n", "\r\n")) == diagnose_uv(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "Because certifi was not found in the provided package\n  locations and tqdm==1.0 depends on certifi>=2024",
            "the package has no wheel of certifi",
        ),
        (
            "Because only certifi==2023.1 is available and all versions of tqdm depend on certifi>=2024, we can",
            "the package has certifi==2023.1, but certifi>=2024 is needed by all versions of tqdm",
        ),
        (
            "and demo:dev depends on black>=24, we can conclude",
            "uv wants black>=24, of the dependency group `dev`, which no daemon installs",
        ),
    ],
)
def test_names_are_taken_over(text: str, message: str) -> None:
    diagnosis = diagnose_uv(text)
    assert diagnosis is not None
    assert diagnosis.message == message


def test_a_marker_that_holds_on_the_target_is_no_universal_resolution() -> None:
    marker = "{platform_python_implementation == 'CPython' and sys_platform == 'linux'}"
    text = f"Because there are no versions of greenlet{marker} and gevent==25.5.1 depends on greenlet{marker}>=3"
    diagnosis = diagnose_uv(text)
    assert diagnosis is not None
    assert diagnosis.slug == "missing-wheel"


@pytest.mark.parametrize(
    "text",
    [
        "Tokio executor failed, was there a panic?: os{code:1,kind:PermissionDenied}",
        'metrics{handler="/simple"} 0',
        "Because only cffi{platform_python_implementation == 'CPython' and sys_pla",
        "goroutine{1}",
        "json{'a': 1}",
    ],
)
def test_braces_that_are_not_a_marker_prove_nothing(text: str) -> None:
    assert diagnose_uv(text) is None


def test_the_resolvers_own_log_is_no_evidence() -> None:
    text = "DEBUG Transient failure for https://index.example/, retrying\n  Caused by: dns error\nResolved 2 packages"
    assert diagnose_uv(text) is None


def test_passwords_are_not_repeated() -> None:
    diagnosis = diagnose_uv(LOCKED_ELSEWHERE)
    assert diagnosis is not None
    assert diagnosis.slug == "lock-pins-remote-urls"
    assert "secret" not in repr(diagnosis)
    assert "files.example" in diagnosis.message


@pytest.mark.parametrize(
    "text",
    [
        "",
        "\n",
        "Resolved 43 packages in 1ms\nInstalled 43 packages in 20ms\n + tqdm==4.67.1\n",
        "Using CPython 3.12.3\n",
    ],
)
def test_success_is_no_diagnosis(text: str) -> None:
    assert diagnose_uv(text) is None


def test_wheels_with_odd_names_leave_the_question_open() -> None:
    text = "Because gevent==1.0 has no `sys_platform == 'linux'`-compatible wheels and"
    for wheels in ([], ["other-1.0-py3-none-any.whl"], ["nonsense.whl"]):
        diagnosis = diagnose_uv(text, wheels=wheels)
        assert diagnosis is not None
        assert diagnosis.slug == "wrong-wheel-tag"


def test_every_rule_has_a_page() -> None:
    for rule in uv_rules().rules:
        assert page(rule.slug).text


def test_every_rule_can_fill_its_sentences() -> None:
    for rule in uv_rules().rules:
        groups = dict.fromkeys(rule.pattern.groupindex, "x")
        assert rule.message.format_map(groups)
        assert rule.hint.format_map(groups)


def test_evidence_leads_back_to_the_lines() -> None:
    flat = flatten(["  × one", "  │ two", "", "  ╰─▶ three"])  # noqa: RUF001
    assert flat.text == "one two three"
    assert flat.lines_of(4, 7) == ("two",)
    assert flat.lines_of(5, 9) == ("two", "three")


WORDS = sorted({key for rule in uv_rules().rules for key in rule.keys})


@given(st.lists(st.one_of(st.sampled_from(WORDS), st.text(max_size=20)), max_size=60), st.sampled_from(["", " ", "\n"]))
@settings(deadline=None)
def test_any_text_is_survived(parts: list[str], separator: str) -> None:
    diagnosis = diagnose_uv(separator.join(parts))
    assert diagnosis is None or diagnosis.message


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "unit", ["a", "{", "`", "Because ", "a==", "https://x ", "Failed to fetch: https://x ", *WORDS[::4]]
)
def test_no_rule_runs_away(unit: str) -> None:
    """A pattern that backtracks without bounds takes hours over this; the rules take milliseconds."""
    text = unit * (200_000 // len(unit)) + " " + " ".join(WORDS)
    assert diagnose_uv(text) is not None


@pytest.mark.parametrize("path", RESOLVING, ids=lambda path: path.stem)
def test_recorded_output_of_the_resolving_side_is_told_right(path: Path) -> None:
    diagnosis = diagnose_resolution(path.read_text(encoding="utf-8"))

    assert diagnosis is not None
    assert diagnosis.slug == told(path)
    assert "?" not in diagnosis.message
    assert diagnosis.hint
    assert "rebuild" not in diagnosis.hint.lower()  # there is no package yet


def test_the_same_words_mean_something_else_on_each_side() -> None:
    text = "Because demo was not found in the package registry and you require demo, we can conclude that"

    assert getattr(diagnose_uv(text), "slug", None) == "mirror-incomplete"
    assert getattr(diagnose_resolution(text), "slug", None) == "unsatisfiable"


def test_a_refused_index_is_told_before_what_follows_from_it() -> None:
    text = (
        "Because demo was not found in the package registry and you require demo, we can conclude that your"
        " requirements are unsatisfiable. hint: An index URL (http://user:word@index.example/simple) could not be"
        " queried due to a lack of valid authentication credentials (401 Unauthorized)."
    )

    for diagnosis in (diagnose_uv(text), diagnose_resolution(text)):
        assert diagnosis is not None
        assert diagnosis.slug == "index-unauthorised"
        assert "word" not in f"{diagnosis.message} {diagnosis.context}"


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Because six was not found in the provided package locations and demo depends on six", ("six",)),
        ("Because there are no versions of Zope.Interface{sys_platform == 'win32'} and a depends", ("zope-interface",)),
        ("Because only cffi[x]<2 is available and b depends on cffi", ("cffi",)),
        ("Because demo depends on six", ()),
    ],
)
def test_what_uv_looked_for_among_the_wheels(text: str, names: tuple[str, ...]) -> None:
    assert missing_distributions(text) == names
