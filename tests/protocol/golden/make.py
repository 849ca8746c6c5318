"""The golden packets: one for every quantization scheme with every coder that goes with it, and one of a learned model.

    python -m tests.protocol.golden.make

writes those that are missing. It never writes over one that is there: their bytes are a promise (docs/wire-format.md),
and a format that changes them is a new version with packets of its own. All data is integer arithmetic, so that this
file is all that it takes to know what they hold.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from keyfpn.protocol import ans
from keyfpn.protocol.chunk import Chunk, Float, Latent, Quantization, Uniform, encode_level
from keyfpn.protocol.geometry import Geometry
from keyfpn.protocol.packet import Extension, Packet
from keyfpn.protocol.quantization import Ranges
from tests.protocol.golden import learned

FOLDER = Path(__file__).parent
QUALITY = 3
GEOMETRY = Geometry(network_size=(30, 48), channels=2, size_divisibility=32)
MODEL_RANGES = {bits: Ranges(np.float32([-2, -1.5]), np.float32([4, 3]) / (1 << bits), bits) for bits in (2, 3)}
SENT_RANGES = {bits: Ranges(np.float32([-1.75, -1]), np.float32([3.5, 2]) / (1 << bits), bits) for bits in (2, 5)}
LATENT_TABLES = (
    ans.AnsTable([60000, 5000, 500, 36]),
    ans.AnsTable([(1 << 24) - 6, 1, 1, 1, 1, 1, 1]),
)

QUANTIZATIONS: dict[str, Quantization] = {
    "float32": Float(32),
    "float16": Float(16),
    "model": Uniform(3),
    "sent": Uniform(5, SENT_RANGES[5]),
}


def level_values(level: str) -> NDArray[np.float32]:
    """Multiples of 1/8 between -2 and 2, exact in float16; (C, H, W) of `GEOMETRY`."""
    channel, y, x = np.indices(GEOMETRY.level_shape(level))
    return (((7 * channel + 5 * y + 3 * x + x * y * y) % 33 - 16) / 8).astype(np.float32)


def latent_symbols(index: int) -> NDArray[np.int32]:
    """(24,) symbols of the table `LATENT_TABLES[index]`."""
    position = np.arange(24)
    symbols = (0, position**3 % len(LATENT_TABLES[index].counts))
    return np.where(position % 5 < 3, *symbols).astype(np.int32)


def packets() -> dict[str, Packet]:
    """Every golden packet by name."""
    made = {}
    for scheme, quantization in QUANTIZATIONS.items():
        for coder in ("store", "zstd", "ans"):
            if not (isinstance(quantization, Float) and coder == "ans"):
                chunk = encode_level("p3", level_values("p3"), quantization, coder, MODEL_RANGES[3])
                made[f"{scheme}-{coder}"] = _packet("raw", (chunk,))
    latents = (
        Chunk(f"y{index}", "ans", Latent(), ans.encode([(latent_symbols(index), table)]))
        for index, table in enumerate(LATENT_TABLES)
    )
    made["latent-ans"] = _packet("learned", tuple(latents))
    made["learned"] = replace(
        _packet("learned", learned.CODER.encode(learned.LATENTS, QUALITY)), network_size=learned.GEOMETRY.network_size
    )
    mixed = (
        encode_level("p2", level_values("p2"), Uniform(2), "ans", MODEL_RANGES[2]),
        encode_level("p5", level_values("p5"), Uniform(3), "store", MODEL_RANGES[3]),
        encode_level("p6", level_values("p6"), Float(16), "store"),
    )
    made["mixed"] = _packet(
        "interpolate", mixed, (Extension(200, b"kept"), Extension(7, b""), Extension(7, bytes(130)))
    )
    # The packet that docs/wire-format.md explains field by field.
    made["example"] = _packet(
        "interpolate", (encode_level("p3", level_values("p3"), Uniform(2, SENT_RANGES[2]), "ans"),)
    )
    return made


def _packet(codec: str, chunks: tuple[Chunk, ...], extensions: tuple[Extension, ...] = ()) -> Packet:
    return Packet(
        codec=codec,
        quality=QUALITY,
        fingerprint=bytes.fromhex("0123456789abcdef"),
        stream_id=0x1122334455667788,
        frame_id=42,
        capture_time=1_700_000_000_000_000,
        image_size=(480, 768),
        network_size=GEOMETRY.network_size,
        chunks=chunks,
        extensions=extensions,
    )


def path_of(name: str) -> Path:
    """Where the golden packet of that name lies."""
    return FOLDER / f"{name}.kfpn"


PACKETS_ON_DISK = {path.stem: path.read_bytes() for path in FOLDER.glob("*.kfpn")}

if __name__ == "__main__":
    for name, packet in packets().items():
        if not path_of(name).exists():
            path_of(name).write_bytes(packet.serialize())
            print(f"wrote {path_of(name).name}")
