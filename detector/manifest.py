"""``manifest.json``: the hash of every file of a published model; its own hash is the model's fingerprint."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from keyfpn.protocol.files import whole_file

from .errors import ModelError

FILE = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Manifest:
    """The names and SHA-256 hashes of the files that both ends must agree on."""

    name: str
    hashes: Mapping[str, str] = field(default_factory=dict)
    """File name, relative to the model folder, to hexadecimal SHA-256."""

    @property
    def fingerprint(self) -> bytes:
        """The first 8 bytes of the SHA-256 of :meth:`to_json`."""
        return hashlib.sha256(self.to_json()).digest()[:8]

    def to_json(self) -> bytes:
        """The manifest file's bytes; the same names and hashes always give the same bytes."""
        document = {"format": FORMAT, "name": self.name, "sha256": dict(sorted(self.hashes.items()))}
        return (json.dumps(document, indent=2) + "\n").encode()

    def write(self, folder: Path) -> None:
        """Write ``manifest.json``, whole or not at all."""
        with whole_file(folder / FILE) as file:
            file.write_bytes(self.to_json())

    @classmethod
    def of_files(cls, name: str, files: Mapping[str, Path], contents: Mapping[str, bytes] | None = None) -> Manifest:
        """Hash files, and contents that are not files, under the given names."""
        hashes = {key: _sha256(path) for key, path in files.items()}
        hashes |= {key: hashlib.sha256(data).hexdigest() for key, data in (contents or {}).items()}
        return cls(name, hashes)

    @classmethod
    def of_folder(cls, folder: Path) -> Manifest:
        """Hash a model folder: all its files but the manifest and the model card."""
        files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        names = {path.relative_to(folder).as_posix(): path for path in files if path.name not in (FILE, "README.md")}
        return cls.of_files(folder.resolve().name, names)

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read a model folder's manifest and check the files that are there against it.

        A folder may hold a part of the files (an edge needs no synthesis network): missing ones are not an error here.

        Raises:
            ModelError: there is no manifest, it is malformed, or a file is not the one that was published.
        """
        path = folder / FILE
        try:
            document = json.loads(path.read_bytes())
            manifest = cls(str(document["name"]), {str(k): str(v) for k, v in document["sha256"].items()})
        except FileNotFoundError as error:
            raise ModelError(str(folder), f"a published model with a {FILE}", "none") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ModelError(str(path), "a manifest", repr(error)) from error
        if document.get("format") != FORMAT:
            raise ModelError(f"{path}, format", FORMAT, repr(document.get("format")))
        for name in manifest.hashes:
            if (folder / name).is_file():
                manifest.check(folder / name, name, _sha256(folder / name))
        return manifest

    def read_file(self, folder: Path, name: str) -> bytes:
        """The content of a published file, which is checked as it is read: the folder may be published again meanwhile.

        Raises:
            ModelError: the model does not have the file, this copy of it does not, or it is not the one published.
        """
        path = folder / name
        if name not in self.hashes:
            raise ModelError(str(folder), f"a model with {name}", "none in its manifest")
        try:
            data = path.read_bytes()
        except OSError as error:
            hint = "Copy the whole model here."
            raise ModelError(str(path), "a file of the model", error.strerror or "none", hint) from error
        self.check(path, name, hashlib.sha256(data).hexdigest())
        return data

    def check(self, path: Path, name: str, found: str) -> None:
        """Raises ModelError unless ``found``, the SHA-256 of the file at ``path``, is that of ``name``."""
        expected = self.hashes[name]
        if found != expected:
            hint = "The file is not the one that was published: restore it, or publish the model again."
            raise ModelError(str(path), f"SHA-256 {expected[:16]}…", f"{found[:16]}…", hint)


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
