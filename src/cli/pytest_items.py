"""Packages as test items: with `--difyoff-packages`, each `*.difypkg` is verified once for each daemon release."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..verify.report import VerificationReport

VerifyItem = Callable[[pytest.Item, Path, str | None], "VerificationReport"]


class PackageFile(pytest.File):
    """A package: an item for each release, `packages/x.difypkg::0.6.10`, or one for every way to install."""

    releases: Sequence[str] = ()
    verify: VerifyItem

    def collect(self) -> Iterator["PackageItem"]:
        """Yield the items."""
        for release in self.releases or (None,):
            item: PackageItem = PackageItem.from_parent(self, name=release or "every release")
            item.release = release
            item.verify = self.verify
            yield item


class PackageItem(pytest.Item):
    """One package on one release."""

    release: str | None = None
    verify: VerifyItem

    def runtest(self) -> None:
        """Verify the package; a refusal fails with its diagnosis."""
        __tracebackhide__ = True
        self.verify(self, self.path, self.release)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Say what the item is, for the report's headings."""
        return self.path, None, f"{self.path.name} on daemon {self.release or 'releases of every kind'}"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str:
        """Return the diagnosis in place of a traceback of ours."""
        if isinstance(excinfo.value, pytest.fail.Exception):
            return str(excinfo.value)
        return str(super().repr_failure(excinfo, style))
