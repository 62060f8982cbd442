"""A software bill of materials, CycloneDX 1.6: the plugin, its wheels, and which asks for which.

The same package gives the same bytes: there is no time stamp, and the serial number comes from the package's hash.
"""

import json
import uuid
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import ExternalReference, ExternalReferenceType, HashAlgorithm, HashType, Property, XsUri
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL

from .. import __version__
from ..difypkg.diagnosis import Diagnosis, DifyoffError
from ..verify.report import BundledDistribution, VerificationReport
from .api import Document
from .entries import entries_of

_NAMESPACE: Final = uuid.uuid5(uuid.NAMESPACE_URL, "urn:difyoff:sbom")
_TOOL: Final = "difyoff"


def render(document: Document) -> str:
    """Return the bill of every package in the document that could be read; the others are named as properties.

    Raises `DifyoffError` (`no-inventory`) where none could be.
    """
    entries = entries_of(document)
    reports = [entry.report for entry in entries if entry.report and entry.report.inventory]
    if not reports:
        raise DifyoffError(
            Diagnosis(
                slug="no-inventory",
                message="no package was read, so there is nothing to list in a bill of materials",
                hint="Use `difyoff verify --backend audit PACKAGE --sbom FILE.cdx.json`.",
            )
        )
    digests = ",".join(report.sha256 for report in reports)
    bom = Bom(serial_number=uuid.uuid5(_NAMESPACE, digests), metadata=BomMetaData())
    # The library has no way to leave the moment out, and a bill that differs each time cannot be compared.
    bom.metadata.tools.components.add(Component(name=_TOOL, version=__version__, type=ComponentType.APPLICATION))
    unread = [entry.name for entry in entries if not (entry.report and entry.report.inventory)]
    bom.metadata.properties.update(Property(name="difyoff:not-listed", value=name) for name in unread)
    plugins = [_add(bom, report) for report in reports]
    if len(plugins) == 1:
        bom.metadata.component = plugins[0]
    else:
        bom.components.update(plugins)
    data = json.loads(JsonV1Dot6(bom).output_as_string())
    del data["metadata"]["timestamp"]
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def recognises(content: bytes) -> bool:
    """Say whether the content is such a bill."""
    try:
        data = json.loads(content)
        tools = data["metadata"]["tools"]["components"]
        return bool(data["bomFormat"] == "CycloneDX" and tools[0]["name"] == _TOOL)
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return False


def _add(bom: Bom, report: VerificationReport) -> Component:
    """Add the wheels of a package; return the plugin's own component, with its dependencies registered."""
    assert report.inventory is not None
    identity = (report.identity or "unknown/unknown:0").partition("@")[0]
    author, _, rest = identity.rpartition("/")
    name, _, version = rest.partition(":")
    plugin = Component(
        type=ComponentType.APPLICATION,
        group=author or None,
        name=name,
        version=version,
        purl=PackageURL(type="generic", namespace=author or None, name=name, version=version),
        bom_ref=report.identity or identity,
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=report.sha256)],
    )
    wheels = {wheel.filename: _component(wheel) for wheel in report.inventory.wheels}
    bom.components.update(wheels.values())

    def named(names: Iterable[str]) -> list[Component]:
        wanted = frozenset(names)
        return [wheels[wheel.filename] for wheel in report.inventory.wheels if wheel.name in wanted]  # type: ignore[union-attr]

    bom.register_dependency(plugin, named(report.inventory.requires))
    for wheel in report.inventory.wheels:
        bom.register_dependency(wheels[wheel.filename], named(wheel.requires))
    return plugin


def _component(wheel: BundledDistribution) -> Component:
    purl = PackageURL(type="pypi", name=wheel.name, version=wheel.version, qualifiers={"file_name": wheel.filename})
    component = Component(
        type=ComponentType.LIBRARY,
        name=wheel.name,
        version=wheel.version,
        purl=purl,
        bom_ref=f"{wheel.filename}@{wheel.sha256}",
        hashes=[HashType(alg=HashAlgorithm.SHA_256, content=wheel.sha256)],
    )
    if wheel.licence:
        factory = LicenseFactory()
        licence = (
            factory.make_from_string(wheel.licence)
            if wheel.licence_is_expression
            else factory.make_with_name(wheel.licence)
        )
        component.licenses.add(licence)
    if wheel.origin and wheel.origin.startswith(("http://", "https://")):
        # What a hostile record calls a URL may be none: written with its odd characters quoted, it is.
        url = XsUri(quote(wheel.origin, safe="/:?@!$&()*+,;=%~"))
        component.external_references.add(ExternalReference(type=ExternalReferenceType.DISTRIBUTION, url=url))
    if wheel.built:
        component.properties.add(Property(name="difyoff:built-from", value=wheel.origin or "source"))
    return component
