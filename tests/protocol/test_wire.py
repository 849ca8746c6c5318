import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfpn.protocol.errors import InvalidField, Truncated
from keyfpn.protocol.wire import MAX_VARINT, Reader, write_varint


@given(st.integers(0, MAX_VARINT))
def test_varint_round_trip(value: int) -> None:
    written = write_varint(value)
    reader = Reader(written, "test")
    assert reader.varint("value") == value
    assert reader.remaining == 0
    assert len(written) == max(1, -(-value.bit_length() // 7))


@pytest.mark.parametrize(
    ("value", "written"),
    [(0, "00"), (127, "7f"), (128, "8001"), (300, "ac02"), (2**21 - 1, "ffff7f"), (2**35 - 1, "ffffffff7f")],
)
def test_varint_bytes(value: int, written: str) -> None:
    assert write_varint(value).hex() == written


@pytest.mark.parametrize("value", [-1, 2**35])
def test_varint_out_of_range_is_not_written(value: int) -> None:
    with pytest.raises(InvalidField, match="varint: expected 0 to 34359738367, found"):
        write_varint(value)


@pytest.mark.parametrize("written", ["8000", "ff00", "80808000", "ffffffff00"])
def test_padded_varint_is_refused(written: str) -> None:
    with pytest.raises(InvalidField, match="packet, length: expected a varint in its shortest form"):
        Reader(bytes.fromhex(written), "packet").varint("length")


@pytest.mark.parametrize("written", ["ffffffffff", "8080808080", "ffffffffff01", "808080808001"])
def test_long_varint_is_refused(written: str) -> None:
    with pytest.raises(InvalidField, match="at most 5 bytes"):
        Reader(bytes.fromhex(written), "packet").varint("length")


@given(st.binary(max_size=8))
def test_every_accepted_varint_is_the_one_that_is_written(data: bytes) -> None:
    reader = Reader(data, "test")
    try:
        value = reader.varint("value")
    except (InvalidField, Truncated):
        return
    assert write_varint(value) == data[: reader.offset]


def test_reads_in_order() -> None:
    reader = Reader(bytes.fromhex("0102030405"), "packet")
    assert reader.uint(2, "a") == 0x0201
    assert reader.take(2, "b") == b"\x03\x04"
    assert reader.remaining == 1
    assert reader.take(0, "c") == b""


@pytest.mark.parametrize("count", [3, 2**35])
def test_never_reads_past_the_end(count: int) -> None:
    reader = Reader(b"\x01\x02\x03", "packet")
    reader.uint(1, "first")
    with pytest.raises(Truncated) as raised:
        reader.take(count, "payload of p3")
    assert str(raised.value) == f"packet, payload of p3: expected {count} bytes at offset 1, found 2"
    assert reader.remaining == 2
