"""What a server tells of itself."""

from __future__ import annotations

from dataclasses import dataclass

from keyfpn.protocol import keyfpn_pb2 as pb

from ..held import HeldModels


@dataclass
class StreamSummary:
    """What became of a stream."""

    peer: str
    """Address of the edge, as gRPC writes it."""
    stream_id: int = 0
    """From its packets; 0 if none could be read."""
    frames: int = 0
    """Frames that were answered."""
    errors: int = 0
    """Those of them that were answered with an error."""
    total_ms: float = 0.0
    """Sum of the results' `server_ms`."""

    @property
    def mean_ms(self) -> float:
        """Mean time from a frame's arrival to its result, in milliseconds; 0 for no frames."""
        return self.total_ms / self.frames if self.frames else 0.0

    def add(self, result: pb.FrameResult) -> None:
        """Count a result."""
        self.stream_id = self.stream_id or result.stream_id
        self.frames += 1
        self.errors += result.HasField("error")
        self.total_ms += result.server_ms


class Observer:
    """Is told of what happens, on the event loop: what it does must be quick. Does nothing itself."""

    def listening(self, host: str, port: int, held: HeldModels) -> None:
        """Edges can connect."""

    def stream_started(self, peer: str) -> None:
        """An edge has opened a stream."""

    def frame_answered(self, result: pb.FrameResult) -> None:
        """A frame has its result, detections or an error."""

    def stream_ended(self, summary: StreamSummary) -> None:
        """A stream has ended, for whatever reason."""
