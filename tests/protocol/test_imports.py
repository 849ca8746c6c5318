"""`protocol` stands at the bottom of the house: it works without torch and without the other rooms."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GRPC = {"grpc", "google.protobuf"}
ROOMS_ABOVE = ("detector", "reconstruct", "training", "edge", "server", "benchmarks")
ABOVE = {"torch", "torchvision", "detectron2", *(f"keyfpn.{room}" for room in ROOMS_ABOVE)}


def imported_by(*modules: str) -> set[str]:
    code = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True, text=True)
    return set(run.stdout.split())


def test_no_module_imports_a_room_above() -> None:
    modules = [f"keyfpn.protocol.{path.stem}" for path in (ROOT / "protocol").glob("*.py") if path.stem != "__init__"]
    assert len(modules) > 8
    loaded = imported_by(*modules)
    assert set(modules) <= loaded
    assert not loaded & ABOVE


def test_packets_do_not_need_grpc() -> None:
    assert not imported_by("keyfpn.protocol.packet") & (ABOVE | GRPC)
