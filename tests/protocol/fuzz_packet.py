"""A coverage-guided fuzzer for everything that reads a packet.

    python -m tests.protocol.fuzz_packet -max_total_time=600 CORPUS_FOLDER

The rule: a `ProtocolError` or a value, nothing else; a packet that is accepted is written as the same bytes again, and
what decodes is finite. Options are libFuzzer's. `test_fuzz.py` runs it for a bounded time, from the golden packets.
"""

import struct
import sys
from dataclasses import replace

import atheris
import google_crc32c
import numpy as np

with atheris.instrument_imports(include=["keyfpn.protocol"]):
    from keyfpn.protocol import ans
    from keyfpn.protocol.chunk import Uniform, decode_level
    from keyfpn.protocol.errors import ProtocolError
    from keyfpn.protocol.limits import Limits
    from keyfpn.protocol.packet import Packet

from tests.protocol.golden import learned
from tests.protocol.golden.make import GEOMETRY, LATENT_TABLES, MODEL_RANGES

LIMITS = Limits(max_packet_bytes=1 << 16, max_elements=1 << 14)


def receive(data: bytes) -> None:
    """Everything that a receiver does with bytes."""
    try:
        packet = Packet.parse(data, LIMITS)
    except ProtocolError:
        return
    assert packet.serialize(LIMITS) == data
    receive_latents(packet)
    geometry = replace(GEOMETRY, network_size=packet.network_size)
    for chunk in packet.chunks:
        try:
            if chunk.level.startswith("y"):
                decoder = ans.AnsDecoder(chunk.payload)
                for table in LATENT_TABLES:
                    assert len(decoder.decode(12, table)) == 12
                decoder.finish()
                continue
            shape = geometry.level_shape(chunk.level)
            ranges = MODEL_RANGES.get(chunk.quantization.bits) if isinstance(chunk.quantization, Uniform) else None
            values = decode_level(chunk, shape, LIMITS, ranges)
        except ProtocolError:
            continue
        assert values.shape == shape
        assert values.size <= LIMITS.max_elements
        assert values.dtype == np.float32
        assert np.isfinite(values).all()


def receive_latents(packet: Packet) -> None:
    """What is accepted is the one packet that holds these latents."""
    geometry = replace(learned.GEOMETRY, network_size=packet.network_size)
    try:
        latents = learned.CODER.decode(packet.chunks, geometry, packet.quality, LIMITS)
    except ProtocolError:
        return
    assert learned.CODER.encode(latents, packet.quality) == packet.chunks


def mutate(data: bytes, max_size: int, seed: int) -> bytes:
    """A mutation by libFuzzer; nine in ten get the right checksum, or nothing behind it would be reached."""
    mutated = atheris.Mutate(data, max_size)
    if seed % 10 and len(mutated) > 4:
        body = bytes(mutated[:-4])
        mutated = body + struct.pack("<I", google_crc32c.value(body))
    return mutated


if __name__ == "__main__":
    atheris.Setup(sys.argv, receive, custom_mutator=mutate)
    atheris.Fuzz()
