"""The offline `requirements.txt`."""

from difyoff.difypkg.requirements import PinnedWheels, offline_requirements
from difyoff.difypkg.target import TARGETS

BOTH = (TARGETS["amd64"], TARGETS["arm64"])


def pin(
    name: str, version: str = "1.0", *, hashes: tuple[str, ...] = ("b", "a"), only: str | None = None
) -> PinnedWheels:
    targets = frozenset(target for target in BOTH if only in (None, target.architecture))
    return PinnedWheels(name=name, version=version, hashes=hashes, targets=targets)


def test_one_line_for_each_version_with_all_its_hashes() -> None:
    text = offline_requirements([pin("b"), pin("a", "2"), pin("a", "10", hashes=("c",))], BOTH)

    assert text.splitlines() == [
        "--no-index",
        "--find-links=./wheels/",
        "a==10 --hash=sha256:c",
        "a==2 --hash=sha256:a --hash=sha256:b",
        "b==1.0 --hash=sha256:a --hash=sha256:b",
    ]
    assert text.endswith("\n")


def test_a_line_for_one_machine_says_so() -> None:
    pins = [pin("a", only="amd64"), pin("a", "2", only="arm64")]

    lines = offline_requirements(pins, BOTH).splitlines()[2:]

    assert lines[0].startswith("a==1.0 ; platform_machine == 'x86_64' --hash")
    assert lines[1].startswith("a==2 ; platform_machine == 'aarch64' --hash")


def test_no_marker_where_there_is_one_target() -> None:
    assert ";" not in offline_requirements([pin("a", only="amd64")], BOTH[:1])


def test_the_order_given_does_not_count() -> None:
    pins = [pin("b"), pin("a"), pin("c", hashes=("z", "y"))]

    assert offline_requirements(pins, BOTH) == offline_requirements(pins[::-1], BOTH)
