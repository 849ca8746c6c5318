import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.protocol.golden.make import PACKETS_ON_DISK

ROOT = Path(__file__).parents[2]
SECONDS = 20
MEMORY_MB = 1024


def test_fuzzing_finds_nothing(tmp_path: Path) -> None:
    """A crash, a run of more than 5 seconds or more memory than the bound makes the fuzzer exit with another code."""
    pytest.importorskip("atheris", reason="atheris, of the dev group, has wheels for Linux only")
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for name, data in PACKETS_ON_DISK.items():
        (corpus / name).write_bytes(data)
    options = [f"-max_total_time={SECONDS}", "-runs=400000", "-seed=1", "-timeout=5", f"-rss_limit_mb={MEMORY_MB}"]
    command = [
        sys.executable,
        "-m",
        "tests.protocol.fuzz_packet",
        *options,
        "-max_len=2048",
        f"-artifact_prefix={tmp_path}/",
    ]
    # Linux counts what a process held before its exec among its peak, and that is pytest's memory here: start the
    # fuzzer from a small shell instead, or the bound would be on the other tests.
    shell = ["sh", "-c", '"$@"; exit $?', "sh", *command, str(corpus)]
    fuzzer = subprocess.run(shell, cwd=ROOT, capture_output=True, text=True, timeout=10 * SECONDS)
    assert fuzzer.returncode == 0, fuzzer.stdout[-2000:] + fuzzer.stderr[-4000:]
    done = re.search(r"Done (\d+) runs in", fuzzer.stderr)
    assert done is not None, fuzzer.stderr[-2000:]
    assert int(done[1]) > 1000
    # Coverage guides it: it keeps inputs that reach what the golden packets do not.
    assert len(list(corpus.iterdir())) > 2 * len(PACKETS_ON_DISK)
