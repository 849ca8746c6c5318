"""docs/wire-format.md against the code: its Python blocks run, its example and its limits are the real ones."""

import re
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfpn.protocol import ans, errors
from keyfpn.protocol.limits import Limits
from tests.protocol.golden.make import path_of
from tests.protocol.integer_decoder import AnsStream
from tests.protocol.latent_models import Case, cases, plain

DOCUMENT = (Path(__file__).parents[2] / "docs" / "wire-format.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def specified() -> dict[str, object]:
    """The functions that the page defines."""
    names: dict[str, object] = {}
    for block in re.findall(r"```python\n(.*?)```", DOCUMENT, re.DOTALL):
        exec(block, names)
    return names


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 2**30), min_size=2, max_size=9), st.integers(0, 40)), max_size=4),
    st.data(),
)
def test_the_specified_coder_is_the_one_that_runs(
    specified: dict[str, object], drawn: list[tuple[list[int], int]], data: st.DataObject
) -> None:
    groups = []
    for histogram, count in drawn:
        counts = specified["normalize"](histogram)
        assert counts == ans.normalize_counts(histogram).tolist()
        symbols = data.draw(st.lists(st.integers(0, len(counts) - 1), min_size=count, max_size=count))
        groups.append((symbols, [entry << 8 for entry in counts]))
    words = specified["encode"](groups)
    tables = [(np.array(symbols, dtype=np.int32), ans.AnsTable(counts)) for symbols, counts in groups]
    assert b"".join(word.to_bytes(4, "little") for word in words) == ans.encode(tables)
    decoded = specified["decode"](words, [(len(symbols), counts) for symbols, counts in groups])
    assert decoded == [symbol for symbols, _ in groups for symbol in symbols]


def test_the_specified_decoder_requires_an_empty_end(specified: dict[str, object]) -> None:
    words = specified["encode"]([([0, 1, 0], [1 << 23, 1 << 23])])
    for count in (2, 4):
        with pytest.raises(ValueError, match="does not end empty"):
            specified["decode"](words, [(count, [1 << 23, 1 << 23])])


@given(cases(max_cells=4))
def test_the_specified_latents_are_those_that_are_coded(specified: dict[str, object], case: Case) -> None:
    coarser, ratio = None, 1
    chunks = case.coder.encode(case.latents, case.quality)
    for index, (chunk, latent) in enumerate(zip(chunks, case.latents, strict=True)):
        stream = AnsStream(chunk.payload)
        if index:
            ratio = case.models[index - 1].stride // case.models[index].stride
        coarser = specified["decode_latent"](
            stream.take, plain(case.models[index]), *latent.shape[1:], case.quality, coarser, ratio
        )
        assert coarser == latent.tolist()
        stream.finish()


def test_the_example_is_the_golden_packet() -> None:
    section = DOCUMENT.split("## An example, byte by byte")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (\d+) \| `([0-9a-f ]+)` \|", section, re.MULTILINE)
    explained = b""
    for offset, row in rows:
        assert len(explained) == int(offset)
        explained += bytes.fromhex(row)
    assert explained == path_of("example").read_bytes()


def test_the_limits_are_the_defaults() -> None:
    rows = dict(re.findall(r"^\| `(max_\w+)` \| ([\d,]+)", DOCUMENT, re.MULTILINE))
    assert {name: int(value.replace(",", "")) for name, value in rows.items()} == {
        field.name: field.default for field in fields(Limits)
    }


def test_every_error_is_explained() -> None:
    kinds = {kind.__name__ for kind in errors.ProtocolError.__subclasses__()}
    assert set(re.findall(r"^\| `([A-Z]\w+)` \|", DOCUMENT, re.MULTILINE)) == kinds
