"""What each kind of archive may hold, and how much of it: every limit of the readers, with its reason."""

from dataclasses import dataclass
from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
GIB: Final = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """The rules for one kind of archive. Sizes are in bytes, ratios are inflated to stored.

    The limits that are the same for all kinds are the defaults; each says why it is what it is.
    """

    kind: str
    """What messages call it."""
    repair: str
    """The next step for whoever holds a refused one."""

    entries: int = 50_000
    """The largest official plugin holds 282 files, the largest wheel it needs 21,785; 200,000 cost the daemon 42 s."""
    directory: int = 16 * MIB
    """The central directory is held in memory: 50,000 entries with names of 280 bytes."""
    inflated: int = 8 * GIB
    """All files. PyTorch's CUDA wheels together unpack to 6 GB; no more can be on its way to one plugin."""
    ratio: int = 50
    """The whole archive. Wheels shrink to a third; warehouse refuses the same ratio from the same size on."""
    ratio_from: int = 64 * MIB
    """Below this a high ratio costs nobody anything."""
    entry_ratio: int = 100
    """One file. Deflate cannot do more than 1,032; the tables and fonts of real wheels stay below this."""
    entry_ratio_from: int = 8 * MIB
    """Below this a file of one repeated byte is only a file (test data in wheels is)."""
    path: int = 1024
    """A path. Linux takes 4,096 together with the folder that the daemon unpacks into."""
    component: int = 255
    """One name of a path: ext4, XFS, APFS and NTFS take no more."""
    depth: int = 32
    """Folders. CPython recurses once for each; of 91,000 files in wheels none lies deeper than 9."""
    seconds: float = 120
    """To read the directory, or one file's content: what is within the other limits takes a tenth on a slow machine."""
    comment: int = 4 * KIB
    """A signature in the daemon's form has 718 bytes for RSA-4096 and 2,800 for RSA-16384."""
    zip64_from: int = 2 * GIB - 1
    """Where zip64 records may begin: CPython writes them from here on. Before, they only make readers disagree."""
    size: int = 8 * GIB
    """The archive itself."""

    descriptors: bool = False
    """Whether sizes and checksum may stand behind the data, as a writer to a pipe puts them."""
    zip64_fields: bool = False
    """Whether a local header may repeat its sizes in a zip64 field, as Bazel's writer does."""
    signature_comment: bool = False
    """Whether the comment may hold a signature; any other comment is refused."""
    links: bool = False
    """Whether symbolic links that stay inside are allowed."""
    portable: bool = True
    """Whether names that Windows cannot hold are refused."""


DIFYPKG: Final = Profile(
    kind="package",
    repair="Get the package from its author again, as `dify plugin package` or `difyoff build` writes it.",
    descriptors=True,  # Go's archive/zip writes them for every file
    signature_comment=True,
)

WHEEL: Final = Profile(
    kind="wheel",
    size=4 * GIB - 1,  # no index takes a larger one, and installers differ from there on
    zip64_fields=True,  # protobuf's wheels
    repair="Get the wheel from its index again, or choose another version of the distribution.",
)

SDIST: Final = Profile(
    kind="source archive",
    repair="Get the source archive from its index again, or choose a version that has a wheel.",
    descriptors=True,
    zip64_fields=True,
    links=True,
    portable=False,
)
