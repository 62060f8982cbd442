"""What a site must set, and the verdict on sizes."""

import pytest

from difyoff.difypkg.daemons import release, releases
from difyoff.difypkg.diagnosis import page
from difyoff.difypkg.site import SiteSetting, site_findings, site_settings, size_verdict
from difyoff.difypkg.sizes import MIB


def settings(
    version: str,
    *,
    author: str = "somebody",
    size: int = MIB,
    unpacked: int = 2 * MIB,
    wheels: int = MIB,
    signed: bool = False,
) -> dict[str, SiteSetting]:
    found = site_settings(
        release(version), author=author, file_size=size, unpacked_size=unpacked, wheels_size=wheels, signed=signed
    )
    assert all(each.reason and each.where for each in found)
    return {each.name: each for each in found}


def test_a_small_package_needs_signatures_off_and_nothing_else() -> None:
    for each in releases():
        assert {name: made.value for name, made in settings(str(each)).items()} == {
            "FORCE_VERIFYING_SIGNATURE": "false"
        }


@pytest.mark.parametrize("author", ["langgenius", "LangGenius"])
def test_langgenius_is_guarded_from_0_3_1_to_0_4_1(author: str) -> None:
    name = "ENFORCE_LANGGENIUS_PLUGIN_SIGNATURES"
    guarded = {str(each) for each in releases() if name in settings(str(each), author=author)}
    assert guarded == {"0.3.1", "0.3.2", "0.3.3", "0.4.0", "0.4.1"}
    assert settings("0.4.1", author=author)[name].value == "false"
    assert name in settings("0.4.1", author=author, signed=True)


def test_a_package_signed_with_a_key_of_the_site() -> None:
    made = settings("0.6.10", signed=True)
    assert set(made) == {
        "THIRD_PARTY_SIGNATURE_VERIFICATION_ENABLED",
        "THIRD_PARTY_SIGNATURE_VERIFICATION_PUBLIC_KEYS",
    }
    assert set(settings("0.0.6", signed=True)) == {"FORCE_VERIFYING_SIGNATURE"}


def test_size_limits_exactly_at_the_edge() -> None:
    assert "PLUGIN_MAX_PACKAGE_SIZE" not in settings("0.6.10", size=50 * MIB, unpacked=50 * MIB)
    for size, unpacked in [(50 * MIB + 1, 1), (1, 50 * MIB + 1)]:
        raised = settings("0.6.10", size=size, unpacked=unpacked)["PLUGIN_MAX_PACKAGE_SIZE"]
        assert raised.value == str(100 * MIB)
        assert raised.where == ("plugin_daemon", "api")
        assert str(50 * MIB + 1) in raised.reason


@pytest.mark.parametrize(
    ("version", "size", "value"),
    [
        ("0.5.2", 14 * MIB, None),
        ("0.5.2", 15 * MIB, "50M"),
        ("0.6.10", 99 * MIB, None),
        ("0.6.10", 100 * MIB, "150M"),
        ("0.6.10", 210 * MIB, "250M"),
    ],
)
def test_the_body_that_nginx_takes(version: str, size: int, value: str | None) -> None:
    made = settings(version, size=size).get("NGINX_CLIENT_MAX_BODY_SIZE")
    assert (made.value if made else None) == value


@pytest.mark.parametrize(
    ("wheels", "value"), [(240 * MIB, None), (300 * MIB, "180"), (700 * MIB, "360"), (4000 * MIB, "600")]
)
def test_time_to_unpack(wheels: int, value: str | None) -> None:
    made = settings("0.6.10", wheels=wheels).get("PLUGIN_PYTHON_ENV_INIT_TIMEOUT")
    assert (made.value if made else None) == value


def test_no_setting_helps_against_the_install_timer() -> None:
    (finding,) = site_findings(release("0.4.1"), wheels_size=600 * MIB)
    assert finding.slug == "install-may-time-out"
    assert "240 s" in finding.message
    assert page(finding.slug).text
    assert site_findings(release("0.4.1"), wheels_size=400 * MIB) == ()
    assert site_findings(release("0.5.0"), wheels_size=4000 * MIB) == ()


@pytest.mark.parametrize(
    ("size", "unpacked", "complete", "verdict"),
    [
        (10, 100, True, "under"),
        (10, 101, True, "over"),
        (101, 10, True, "over"),
        (10, 100, False, "open"),
        (10, 101, False, "over"),
    ],
)
def test_size_verdict(size: int, unpacked: int, complete: bool, verdict: str) -> None:
    made = size_verdict(
        release("0.6.10"), file_size=size * MIB, unpacked_size=unpacked * MIB, limit=100 * MIB, complete=complete
    )
    assert made.verdict == verdict
    assert ("PLUGIN_MAX_PACKAGE_SIZE" in {each.name for each in made.settings}) is (verdict == "over")
    assert ("at least" in made.text) is not complete
    assert "100.0 MiB" in made.text


def test_the_limit_is_the_release_s_unless_given() -> None:
    assert size_verdict(newest := release("0.6.10"), file_size=1, unpacked_size=51 * MIB).verdict == "over"
    assert size_verdict(newest, file_size=1, unpacked_size=51 * MIB, limit=60 * MIB).verdict == "under"
