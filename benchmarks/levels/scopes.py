"""Who works on a degraded or rebuilt pyramid: the RPN alone, as in the study, or both stages, as on a server."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, get_args

from ..engine.view import View
from ..engine.way import Sent, Way

Scope = Literal["rpn", "full"]
"""``rpn``: the RPN, while the ROI heads see the true pyramid; ``full``: RPN and ROI heads."""
SCOPES: tuple[Scope, ...] = get_args(Scope)


@dataclass(frozen=True)
class RpnScope:
    """Any way, in the scope ``rpn``."""

    way: Way
    reads_features: ClassVar[bool] = True

    @property
    def key(self) -> str:
        return f"rpn:{self.way.key}"

    def send(self, view: View) -> Sent:
        return replace(self.way.send(view), roi_features=view.features)


def in_scope(way: Way, scope: Scope) -> Way:
    """A way in one of the scopes; a way alone is in the scope ``full``."""
    return RpnScope(way) if scope == "rpn" else way
