"""The committed code of the RPC is what protoc makes of the committed keyfpn.proto."""

import ast
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from keyfpn.protocol import keyfpn_pb2, keyfpn_pb2_grpc

ROOT = Path(__file__).parents[2]
GENERATED = ("keyfpn_pb2.py", "keyfpn_pb2.pyi", "keyfpn_pb2_grpc.py")


def test_generated_code_is_current(tmp_path: Path) -> None:
    r"""To make it so, run this from the root of the project.

    python -m grpc_tools.protoc -Isrc --python_out=src --pyi_out=src --grpc_python_out=src \
        src/keyfpn/protocol/keyfpn.proto
    """
    pytest.importorskip("grpc_tools", reason="protoc comes with grpcio-tools, of the dev group")
    outputs = [f"--{kind}_out={tmp_path}" for kind in ("python", "pyi", "grpc_python")]
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-Isrc", *outputs, "src/keyfpn/protocol/keyfpn.proto"],
        cwd=ROOT,
        check=True,
    )
    for name in GENERATED:
        assert (ROOT / "protocol" / name).read_text() == (tmp_path / "keyfpn" / "protocol" / name).read_text(), name


def test_the_command_is_the_same_everywhere() -> None:
    command = "python -m grpc_tools.protoc -Isrc --python_out=src --pyi_out=src --grpc_python_out=src"
    assert command in inspect.getdoc(test_generated_code_is_current)
    for place in ("protocol/keyfpn.proto", "docs/wire-format.md"):
        assert command in (ROOT / place).read_text(encoding="utf-8")


def test_the_hand_written_stub_names_what_is_generated() -> None:
    stub = ast.parse((ROOT / "protocol" / "keyfpn_pb2_grpc.pyi").read_text())
    for node in stub.body:
        if isinstance(node, ast.FunctionDef):
            assert list(inspect.signature(getattr(keyfpn_pb2_grpc, node.name)).parameters) == [
                argument.arg for argument in node.args.args
            ]
        if isinstance(node, ast.ClassDef) and node.name.endswith("Servicer"):
            generated = getattr(keyfpn_pb2_grpc, node.name)
            for method in node.body:
                assert list(inspect.signature(getattr(generated, method.name)).parameters) == [
                    argument.arg for argument in method.args.args
                ]


def test_a_result_is_detections_or_an_error() -> None:
    result = keyfpn_pb2.FrameResult(stream_id=2**64 - 1, frame_id=7, server_ms=1.5)
    assert result.WhichOneof("outcome") is None
    result.detections.boxes.extend([0, 1, 2, 3])
    assert result.WhichOneof("outcome") == "detections"
    result.error.kind = "ChecksumMismatch"
    assert result.WhichOneof("outcome") == "error"
    assert keyfpn_pb2.FrameResult.FromString(result.SerializeToString()) == result
