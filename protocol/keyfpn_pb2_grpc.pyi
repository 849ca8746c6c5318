# Types of the generated keyfpn_pb2_grpc.py, by hand: protoc writes none for it, and grpc has none itself.

from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from keyfpn.protocol.keyfpn_pb2 import DescribeRequest, Frame

class DetectionStub:
    Describe: Callable[..., Any]
    Detect: Callable[..., Any]

    def __init__(self, channel: Any) -> None: ...

class DetectionServicer:
    # Results are `ServerDescription` and an iterator of `FrameResult`; awaited and asynchronous with grpc.aio.
    def Describe(self, request: DescribeRequest, context: Any) -> Any: ...  # noqa: N802
    def Detect(self, request_iterator: Iterator[Frame] | AsyncIterator[Frame], context: Any) -> Any: ...  # noqa: N802

def add_DetectionServicer_to_server(servicer: DetectionServicer, server: Any) -> None: ...  # noqa: N802
