"""Streams packets to a server and yields its answers.

frames ──► InFlight.requests ──► gRPC ──► server
              a few at once unanswered      │
answers ◄── InFlight.answer ◄─── gRPC ◄─────┘
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from types import TracebackType

import grpc
from typing_extensions import Self

from keyfpn.detector.model import DetectorModel
from keyfpn.protocol import keyfpn_pb2 as wire
from keyfpn.protocol.errors import ConfigurationError
from keyfpn.protocol.keyfpn_pb2_grpc import DetectionStub
from keyfpn.protocol.limits import DEFAULT_LIMITS
from keyfpn.protocol.packet import VERSION
from keyfpn.reconstruct.codec import FeatureCodec

from .encoder import EncodedFrame
from .errors import ServerError
from .in_flight import Answer, InFlight

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):\d{1,5}")
_LONG = 1 << 21
_FRAME_OVERHEAD = wire.Frame(packet=bytes(_LONG)).ByteSize() - _LONG  # the field's tag, and the length of a long one
_CHANNEL_OPTIONS = (
    # What may be sent is bounded by what the server announces, and checked for every packet: see `limits`.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 4 << 20),
    # A server whose machine is gone never closes the connection: ask whether it is still there.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class DetectionClient:
    """A connection to a server that decodes what this edge encodes; a context manager.

    Attributes:
        address: as given.
        limits: to serialize packets with: the server takes no larger ones.
    """

    def __init__(
        self,
        address: str,
        model: DetectorModel,
        codec: FeatureCodec,
        *,
        connect_timeout: float = 10.0,
        in_flight: int = 4,
    ) -> None:
        """Learn what the server decodes, and refuse a mismatch before any frame is sent.

        Args:
            address: ``HOST:PORT``; IPv6 in brackets.
            model: that the packets are made with.
            codec: that they are made with.
            connect_timeout: seconds within which the server must describe itself.
            in_flight: how many frames may wait for their answers.

        Raises:
            ConfigurationError: an address of another form.
            ServerError: nobody answers in time, or something that is no keyfpn server; or the server has not the model,
                the codec or the packet version.
        """
        if not _ADDRESS.fullmatch(address):
            raise ConfigurationError(f"server {address!r}: expected HOST:PORT, such as 127.0.0.1:50051")
        self.address = address
        self._in_flight = in_flight
        self._class_count = len(model.class_names)
        self._channel = grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._stub = DetectionStub(self._channel)
        try:
            description = self._describe(connect_timeout)
            self._require(description, model, codec)
        except BaseException:
            self._channel.close()
            raise
        self.limits = replace(DEFAULT_LIMITS, max_packet_bytes=max(0, description.max_message_bytes - _FRAME_OVERHEAD))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def detect(self, frames: Iterable[EncodedFrame]) -> Iterator[Answer]:
        """Send frames as they come and yield their answers.

        The frames are pulled, and so encoded, in a thread of gRPC's while this one waits for answers.

        Raises:
            ServerError: the server went away with frames unanswered or unsent, or sent what is no answer to any frame.
            Exception: whatever iterating over ``frames`` raises.
        """
        waiting = InFlight(frames, limit=self._in_flight, class_count=self._class_count)
        call = self._stub.Detect(waiting.requests())
        lost = "it closed the stream"
        try:
            for result in call:
                yield waiting.answer(result)
        except ValueError as error:
            raise ServerError(f"server {self.address}: {error}: bring both ends to the same keyfpn release") from error
        except grpc.RpcError as error:
            lost = _reason(error)
        finally:
            waiting.stop()
            call.cancel()
        if waiting.failure:
            raise waiting.failure
        if not waiting.complete:
            raise ServerError(
                f"server {self.address} went away, {waiting.count} frames sent to it are unanswered ({lost}): see its "
                "log, start it again, and send what is missing again"
            )

    def _describe(self, timeout: float) -> wire.ServerDescription:
        try:
            description: wire.ServerDescription = self._stub.Describe(wire.DescribeRequest(), timeout=timeout)
            return description
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                advice = f"no answer within {timeout:g} s: is it a keyfpn server, and does no firewall stand between?"
            elif error.code() == grpc.StatusCode.UNAVAILABLE:
                advice = (
                    f"no keyfpn server answers there ({error.details()}): start one with `keyfpn-server serve`, or "
                    "correct the address"
                )
            else:
                advice = f"this is no keyfpn server ({_reason(error)}): correct the address"
            raise ServerError(f"server {self.address}: {advice}") from error

    def _require(self, description: wire.ServerDescription, model: DetectorModel, codec: FeatureCodec) -> None:
        if VERSION not in description.packet_versions:
            raise ServerError(
                f"server {self.address} (keyfpn {description.software_version}) reads packets of version "
                f"{_listed(description.packet_versions)}, this edge writes version {VERSION}: bring both to the same "
                "keyfpn release"
            )
        same = [held for held in description.models if held.fingerprint == model.fingerprint]
        if not same:
            held_models = [f"{held.name} (fingerprint {held.fingerprint.hex()})" for held in description.models]
            raise ServerError(
                f"server {self.address} holds {_listed(held_models)}, this edge has {model.name} (fingerprint "
                f"{model.fingerprint.hex()}): start both with the same model, and compare their manifest.json"
            )
        if codec.name not in same[0].codecs:
            raise ServerError(
                f"server {self.address} decodes {_listed(same[0].codecs)} for {model.name}, this edge encodes with "
                f"{codec.name}: choose another --codec, or bring both to the same keyfpn release"
            )


def _reason(error: grpc.RpcError) -> str:
    return f"{error.code().name}: {error.details()}"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values)) or "nothing"
