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

from keyfpn.detector.model import Model
from keyfpn.protocol import keyfpn_pb2 as wire
from keyfpn.protocol.errors import ConfigurationError, InvalidField
from keyfpn.protocol.keyfpn_pb2_grpc import DetectionStub
from keyfpn.protocol.limits import DEFAULT_LIMITS
from keyfpn.protocol.messages import FRAME_OVERHEAD
from keyfpn.protocol.packet import VERSION
from keyfpn.reconstruct.registry import default_codec
from keyfpn.reconstruct.settings import CodecSettings

from .errors import ServerError
from .in_flight import Answer, InFlight, Sent

_ADDRESS = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]+):\d{1,5}")
_SAME_RELEASE = "Bring both ends to the same keyfpn release."
_CHANNEL_OPTIONS = (
    # What may be sent is bounded by what the server announces, and checked for every packet: see `limits`.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", 4 << 20),
    # A server whose machine is gone never closes the connection: ask whether it is still there.
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)


class Client:
    """A connection to a server that decodes what an edge encodes; a context manager.

    Attributes:
        address: as given.
        limits: to serialize packets with: the server takes no larger ones.
    """

    def __init__(
        self,
        address: str,
        model: Model,
        codec: str | None = None,
        *,
        connect_timeout: float = 10.0,
        in_flight: int = 4,
    ) -> None:
        """Learn what the server decodes, and refuse a mismatch before any frame is sent.

        Args:
            address: ``HOST:PORT``; IPv6 in brackets.
            model: that the packets are made with.
            codec: name or settings of the codec that they are made with; the model's best unless given.
            connect_timeout: seconds within which the server must describe itself.
            in_flight: how many frames may wait for their answers.

        Raises:
            ConfigurationError: an address of another form.
            ServerError: nobody answers in time, or something that is no keyfpn server; or the server does not have the
                model, the codec or the packet version.
        """
        if not _ADDRESS.fullmatch(address):
            raise ConfigurationError("server", "HOST:PORT, such as 127.0.0.1:50051", repr(address))
        self.address = address
        self._in_flight = in_flight
        self._labels = model.labels
        self._channel = grpc.insecure_channel(address, options=_CHANNEL_OPTIONS)
        self._stub = DetectionStub(self._channel)
        try:
            description = self._describe(connect_timeout)
            self._require(description, model, CodecSettings.parse(codec or default_codec(model)).name)
        except BaseException:
            self._channel.close()
            raise
        self.limits = replace(DEFAULT_LIMITS, max_packet_bytes=max(0, description.max_message_bytes - FRAME_OVERHEAD))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._channel.close()

    def detect(self, frames: Iterable[Sent]) -> Iterator[Answer]:
        """Send frames as they come and yield their answers, in the same order.

        The frames are pulled, and so encoded, in a thread of gRPC's while this one waits for answers.

        Raises:
            ServerError: the server went away with frames unanswered or unsent, or sent what is no answer to any frame.
            Exception: whatever iterating over ``frames`` raises.
        """
        waiting = InFlight(frames, limit=self._in_flight, labels=self._labels, limits=self.limits)
        call = self._stub.Detect(waiting.requests())
        lost = "it closed the stream"
        try:
            for result in call:
                yield waiting.answer(result)
        except InvalidField as error:
            subject = f"server {self.address}, {error.subject}"
            raise ServerError(subject, error.expected, error.found, _SAME_RELEASE) from error
        except grpc.RpcError as error:
            lost = _reason(error)
        finally:
            waiting.stop()
            call.cancel()
        if waiting.failure:
            raise waiting.failure
        if not waiting.complete:
            found = f"that it went away, with {waiting.count} frames unanswered ({lost})"
            raise self._error("answers to all frames", found, "See its log, start it again, and send the rest again.")

    def _describe(self, timeout: float) -> wire.ServerDescription:
        try:
            description: wire.ServerDescription = self._stub.Describe(wire.DescribeRequest(), timeout=timeout)
            return description
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
                found = f"no answer within {timeout:g} s"
                hint = "Is it a keyfpn server, and does no firewall stand between?"
            elif error.code() == grpc.StatusCode.UNAVAILABLE:
                found = f"that nothing answers there ({error.details()})"
                hint = "Start one with keyfpn-server serve, or correct the address."
            else:
                found, hint = f"something else ({_reason(error)})", "Correct the address."
            raise self._error("a keyfpn server", found, hint) from error

    def _require(self, description: wire.ServerDescription, model: Model, codec: str) -> None:
        if VERSION not in description.packet_versions:
            release = f"keyfpn {description.software_version} which reads {_listed(description.packet_versions)}"
            raise self._error(f"a server that reads packets of version {VERSION}", release, _SAME_RELEASE)
        same = [held for held in description.models if held.fingerprint == model.fingerprint]
        if not same:
            held_models = [f"{held.name} (fingerprint {held.fingerprint.hex()})" for held in description.models]
            raise self._error(
                f"the edge's model {model.name} (fingerprint {model.fingerprint.hex()})",
                _listed(held_models),
                "Start both with the same model, and compare their manifest.json.",
            )
        if codec not in same[0].codecs:
            found = f"only {_listed(same[0].codecs)} for {model.name}"
            hint = "Choose another --codec, or bring both to the same keyfpn release."
            raise self._error(f"one that decodes {codec}", found, hint)

    def _error(self, expected: str, found: object, hint: str) -> ServerError:
        return ServerError(f"server {self.address}", expected, found, hint)


def _reason(error: grpc.RpcError) -> str:
    return f"{error.code().name}: {error.details()}"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values)) or "nothing"
