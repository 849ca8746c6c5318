"""The packages that only some installations have, and how each is installed."""

from collections.abc import Iterator
from contextlib import contextmanager
from types import MappingProxyType

from keyfpn.protocol.errors import Error

_EXTRAS = MappingProxyType(
    {
        "torch": "torch",
        "torchvision": "torch",
        "pycocotools": "torch",
        "tabulate": "torch",
        "av": "video",
        "matplotlib": "train",
        "bjontegaard": "bench",
    }
)
"""Package to the extra of keyfpn that brings it."""


class MissingPackageError(Error):
    """A package that this part of keyfpn needs is not installed."""


@contextmanager
def packages_of_extras() -> Iterator[None]:
    """Turn the failed import of a package that an extra brings into one line that says what to install.

    Raises:
        MissingPackageError: such an import failed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package in _EXTRAS:
            hint = f"Install it with: pip install 'keyfpn[{_EXTRAS[package]}]'"
        elif package in ("detectron2", "fvcore", "iopath", "yacs", "omegaconf", "pkg_resources"):
            hint = "Install detectron2 from github.com/facebookresearch/detectron2, or run make in keyfpn's repository."
        else:
            raise
        raise MissingPackageError(f"package {package}", "it to be installed", "it is not", hint) from error
