"""The committed packets: their bytes do not change, and two decoders read the same out of them."""

from dataclasses import replace

import numpy as np
import pytest
import zstandard
from numpy.typing import NDArray

from keyfpn.protocol import ans
from keyfpn.protocol.chunk import Chunk, Uniform, decode_level
from keyfpn.protocol.packet import Packet
from keyfpn.protocol.quantization import Ranges, dequantize, quantize
from tests.protocol import integer_decoder
from tests.protocol.golden import learned
from tests.protocol.golden.make import (
    FOLDER,
    GEOMETRY,
    LATENT_TABLES,
    MODEL_RANGES,
    QUALITY,
    latent_symbols,
    level_values,
    packets,
    path_of,
)
from tests.protocol.latent_models import plain

PACKETS = packets()


def model_ranges(quantization: object) -> Ranges | None:
    return MODEL_RANGES.get(quantization.bits) if isinstance(quantization, Uniform) else None


def test_every_golden_packet_is_tested() -> None:
    assert {path.stem for path in FOLDER.glob("*.kfpn")} == set(PACKETS)


@pytest.mark.parametrize("name", [name for name in PACKETS if "zstd" not in name])
def test_the_encoder_writes_the_same_bytes(name: str) -> None:
    """Without zstd, whose releases may compress the same content differently: there, decoding alone is a promise."""
    assert PACKETS[name].serialize() == path_of(name).read_bytes()


@pytest.mark.parametrize("name", PACKETS)
def test_the_decoder_reads_the_same_packet(name: str) -> None:
    parsed, made = Packet.parse(path_of(name).read_bytes()), PACKETS[name]
    assert parsed.serialize() == path_of(name).read_bytes()
    for field in set(vars(made)) - {"chunks"}:
        assert getattr(parsed, field) == getattr(made, field)
    assert parsed.key_levels == made.key_levels
    for chunk in parsed.chunks:
        if chunk.level.startswith("p"):
            decoded = decode_level(
                chunk, GEOMETRY.level_shape(chunk.level), model_ranges=model_ranges(chunk.quantization)
            )
            assert np.array_equal(decoded, expected_values(chunk))


def test_the_latents_of_the_learned_packet() -> None:
    packet = Packet.parse(path_of("learned").read_bytes())
    geometry = replace(learned.GEOMETRY, network_size=packet.network_size)
    decoded = learned.CODER.decode(packet.chunks, geometry, packet.quality)
    assert all(map(np.array_equal, decoded, learned.LATENTS))
    payloads = [chunk.payload for chunk in packet.chunks]
    models = [plain(learned.model(index)) for index in range(len(payloads))]
    independent = integer_decoder.decode_latents(payloads, models, packet.network_size, packet.quality)
    for latent, expected in zip(independent, learned.LATENTS, strict=True):
        assert list(latent.values()) == expected.reshape(-1).tolist()


def test_the_learned_packet_shows_the_context_model() -> None:
    """It needs most tables of every latent, activities beyond the largest, and a coarser latent that is cut off."""
    phases = set()
    for coded, scales in zip(learned.CODER.coded(learned.LATENTS, QUALITY), learned.SCALES, strict=True):
        assert len(np.unique(coded.tables % scales)) >= scales - 2
        phases |= set((coded.tables // scales).reshape(-1).tolist())
    assert phases == {0, 1, 2, 3}
    assert np.abs(learned.LATENTS[0]).max() >= 1 << 8
    assert all(latent.shape[1] % 2 or latent.shape[2] % 2 for latent in learned.LATENTS)


def expected_values(chunk: Chunk) -> NDArray[np.float32]:
    """What a level comes back as, without its coder; the independent decoder holds the quantizer."""
    values = level_values(chunk.level)
    if not isinstance(chunk.quantization, Uniform):
        return values
    ranges = chunk.quantization.ranges or MODEL_RANGES[chunk.quantization.bits]
    return dequantize(quantize(values, ranges), ranges)


@pytest.mark.parametrize("name", PACKETS)
def test_an_independent_decoder_agrees(name: str) -> None:
    data = path_of(name).read_bytes()
    packet = Packet.parse(data)
    fields, levels = integer_decoder.read_packet(data)
    assert fields == {field: getattr(packet, field) for field in fields}
    assert len(levels) == len(packet.chunks)
    for level, chunk in zip(levels, packet.chunks, strict=True):
        assert (level.name, level.coder, level.payload) == (chunk.level, chunk.coder, chunk.payload)
        if level.name.startswith("p"):
            shape = GEOMETRY.level_shape(level.name)
            values = decode_level(chunk, shape, model_ranges=model_ranges(chunk.quantization))
            assert independent_values(level, values.size) == values.reshape(-1).tolist()
        elif name == "latent-ans":
            index = int(level.name[1:])
            table, symbols = LATENT_TABLES[index], latent_symbols(index).tolist()
            assert integer_decoder.decode_ans(level.payload, 24, table.counts.tolist()) == symbols
            decoder = ans.AnsDecoder(chunk.payload)
            assert decoder.decode(24, table).tolist() == symbols
            decoder.finish()


def independent_values(level: integer_decoder.Level, count: int) -> list[float]:
    """The level's values by `integer_decoder` (and zstandard, where the coder is zstd)."""
    payload = zstandard.decompress(level.payload) if level.coder == "zstd" else level.payload
    if level.scheme in (0, 1):
        return integer_decoder.floats(payload, level.bits)
    if level.coder == "ans":
        symbols = integer_decoder.decode_histogram_and_stream(payload, count, level.bits)
    elif level.coder == "zstd":
        symbols = list(payload)
    else:
        symbols = integer_decoder.unpack(payload, count, level.bits)
    ranges = level.ranges
    if level.scheme == 2:
        model = MODEL_RANGES[level.bits]
        ranges = [tuple(int(number) >> 16 for number in pair) for pair in zip(*words_of(model), strict=True)]
    return integer_decoder.reconstruct(symbols, ranges)


def words_of(ranges: Ranges) -> tuple[list[int], list[int]]:
    """Low and step as the bit patterns of binary32."""
    return ranges.low.view(np.uint32).tolist(), ranges.step.view(np.uint32).tolist()
