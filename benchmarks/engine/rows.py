"""The rows of a study's tables."""

from __future__ import annotations

from dataclasses import dataclass

from .way import Way


@dataclass(frozen=True, kw_only=True)
class Row:
    """One way of getting boxes; each study adds what its tables say of it."""

    way: Way

    @property
    def key(self) -> str:
        """Names its measurements in the store."""
        return self.way.key
