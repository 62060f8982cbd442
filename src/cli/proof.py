"""How to verify for a site: what the command line, the gate of a build and the pytest plugin share."""

from pathlib import Path

from .. import __version__
from ..difypkg.target import TARGETS
from ..uvrun.environment import IndexSettings
from ..verify.options import VerifyOptions
from ..verify.trust import NO_TRUST, Trust
from .site import Site


def make_verify_options(site: Site, index: IndexSettings, *, backend: str, trust: Trust = NO_TRUST) -> VerifyOptions:
    """Return how to verify for a site; its own index stands in `index`."""
    return VerifyOptions(
        cache=site.cache,
        index=index,
        version=__version__,
        backend=backend,
        releases=site.releases,
        targets=site.targets,
        candidates=tuple(TARGETS.values()),
        settings=site.settings,
        matrix=site.matrix,
        trust_plugin=site.trust_plugin,
        allow_stand_in=site.allow_stand_in,
        strict=site.strict,
        image=site.image,
        pull=site.pull,
        platform=site.platform,
        trust=trust,
    )


def read_trust(site: Site, *, provenance: Path | None = None, allowed_signers: Path | None = None) -> Trust:
    """Return whom packages must come from. Raises `DifyoffError` (`key-unusable`)."""
    if not site.public_keys and provenance is None:
        return NO_TRUST
    from ..signing.keys import read_public_key

    keys = tuple(map(read_public_key, site.public_keys))
    return Trust(public_keys=keys, provenance=provenance, allowed_signers=allowed_signers)
