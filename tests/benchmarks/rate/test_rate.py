"""The benchmark from the command line, on three small pictures and a few rows."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from keyfpn.benchmarks import options as options_module
from keyfpn.benchmarks.cli import app
from keyfpn.benchmarks.engine.pool import Pool, Task
from keyfpn.benchmarks.rate import rows
from keyfpn.benchmarks.rate.baselines import Baseline
from keyfpn.benchmarks.rate.curves import Point, envelope, rate_at
from keyfpn.detector.coco import CocoData
from keyfpn.detector.model import Model
from keyfpn.detector.prepare import read_picture

BASELINES = [
    *(Baseline("jpeg", quality, "4:2:0", "network") for quality in (5, 15, 80)),
    Baseline("jpeg", 40, "4:4:4", "0.5"),
    Baseline("avif", 40, "4:2:0", "0.75"),
]
CODECS = ["raw:precision=fp32", "interpolate:levels=p3+p5,precision=int4,ranges=picture"]
ROWS = 1 + len(BASELINES) + len(CODECS)
SharePool = Callable[[int], Any]
Run = Callable[..., Result]
ROW_KEYS = {"family", "setting", "size", "key_levels", "bytes", "xfold", "AP", "AP50", "APs", "APm", "APl"} | {
    "agreement",
    "dAP_low",
    "dAP_high",
}


@pytest.fixture(scope="module")
def run(quick_model: Model, share_worker: SharePool) -> Iterator[Run]:
    """Runs the command, in this process but for the worker."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "default_baselines", lambda sizes: BASELINES)
        patch.setattr(options_module, "Pool", share_worker)
        yield partial(run_rate, str(quick_model.folder))


def run_rate(
    detector: str, folder: Path, cache: Path, out: Path, *options: str, codecs: Sequence[str] = CODECS
) -> Result:
    arguments = ["rate", "--images", str(folder), "--annotations", str(folder / "annotations.json")]
    arguments += ["--detector", detector]
    arguments += ["--out", str(out), "--cache", str(cache), "--workers", "1", "--precision", "fp32"]
    arguments += [text for codec in codecs for text in ("--codec", codec)]
    return CliRunner().invoke(app, [*arguments, *options])


def measured(result: Result) -> int:
    """How many measurements a run made."""
    found = re.findall(r"measuring: (\d+) of \1 after", result.stderr)
    return int(found[-1]) if found else 0


@dataclass(frozen=True)
class Runs:
    """One benchmark, run three times with the same command but for --json."""

    cache: Path
    out: Path
    interrupted: Result
    resumed: Result
    repeated: Result

    @property
    def document(self) -> dict[str, Any]:
        return json.loads(self.resumed.stdout)


@pytest.fixture(scope="module")
def runs(run: Run, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Runs:
    cache, out = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("out")
    whole_run = Pool.run

    def interrupted(self: Pool, function: Callable[..., Any], tasks: Sequence[Task]) -> Iterator[Any]:
        results = whole_run(self, function, tasks)
        yield next(results)
        results.close()
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pool, "run", interrupted)
        first = run(data_folder, cache, out)
    assert not list(out.iterdir())
    return Runs(cache, out, first, run(data_folder, cache, out, "--json"), run(data_folder, cache, out))


def test_a_run_goes_on_where_it_was_interrupted(runs: Runs) -> None:
    assert runs.interrupted.exit_code == 130
    assert "goes on from here" in runs.interrupted.stderr
    assert runs.resumed.exit_code == 0, runs.resumed.stderr
    first_stage = ROWS - 2  # the network size first; it was interrupted after the first of three pictures
    assert measured(runs.resumed) == 3 * ROWS - first_stage
    assert runs.repeated.exit_code == 0
    assert measured(runs.repeated) == 0
    assert json.loads((runs.out / "rate.json").read_text()) == runs.document


def test_the_unsplit_ap_is_the_detectors(runs: Runs, data: CocoData, detect, quick_model: Model) -> None:
    results = [
        result
        for picture in data.pictures
        for result in detect(read_picture(picture.path)).to_coco(picture.id, quick_model.labels.category_ids)
    ]
    assert runs.document["unsplit"] == data.evaluate(results).as_dict()


def test_the_document_has_the_promised_shape(runs: Runs, data: CocoData) -> None:
    document = runs.document
    assert document["pictures"] == 3
    assert document["network_size"] == {"short_side": 128, "long_side_max": 256}
    assert len(document["rows"]) == ROWS
    assert all(set(row) == ROW_KEYS for row in document["rows"])
    by_setting = {row["setting"]: row for row in document["rows"]}
    original = by_setting["original"]
    sizes = [picture.path.stat().st_size for picture in data.pictures]
    assert original["bytes"] == round(sum(sizes) / 3, 1)
    assert (original["family"], original["size"], original["agreement"]) == ("jpeg", "original", 100)
    half = by_setting["jpeg:quality=40,subsampling=4:4:4,size=0.5"]
    assert (half["family"], half["size"], half["key_levels"]) == ("jpeg", "0.5", None)
    raw = by_setting["raw:levels=p2+p3+p4+p5,precision=fp32,coder=store"]
    assert {key: raw[key] for key in document["unsplit"]} == document["unsplit"]
    assert (raw["dAP_low"], raw["dAP_high"], raw["agreement"], raw["size"]) == (0, 0, 100, None)
    split = by_setting["interpolate:levels=p3+p5,precision=int4,coder=ans,ranges=picture"]
    assert split["key_levels"] == ["p3", "p5"]
    assert split["xfold"] == pytest.approx(document["raw_bytes"] / split["bytes"], rel=1e-3)


def test_the_document_compares_families(runs: Runs) -> None:
    document = runs.document
    lines = {"jpeg@envelope", "jpeg@network", "jpeg@0.5", "avif@envelope", "avif@0.75", "raw", "interpolate"}
    assert set(document["at_drop"]) == {"points_1.4", "relative_3.3"}
    floor = document["unsplit"]["AP"] - 1.4
    points = [Point(r["bytes"], r["AP"]) for r in document["rows"] if r["family"] == "jpeg"]
    for rates in document["at_drop"].values():
        assert set(rates) == lines
        assert rates["raw"] is None
    rates = document["at_drop"]["points_1.4"]
    of_all_sizes = rate_at(envelope(points), floor)
    single = [rates[f"jpeg@{size}"] for size in ("network", "0.5")]
    fewest = min(rate for rate in (of_all_sizes, *single) if rate is not None)
    assert rates["jpeg@envelope"] == pytest.approx(fewest, rel=1e-3)
    assert document["at_study_rate"]["AP"]["raw"] is None  # float32 takes far more than 7.96x allows
    assert document["at_study_rate"]["AP"]["jpeg"] == max(point.ap for point in points)
    assert set(document["bd_rate"]["raw"]) == {"jpeg", "avif", "interpolate"}
    assert document["bd_rate"]["raw"]["avif"]["percent"] is None


def test_tables_name_the_study_and_every_row(runs: Runs) -> None:
    page = (runs.out / "rate.md").read_text()
    for text in (runs.repeated.stdout, page):
        assert "What 7.96x" in text
        assert "RPN and ROI heads both" in " ".join(text.split())
        for row in runs.document["rows"]:
            aps = "|".join(f"{row['AP'] + rounded:.2f}" for rounded in (-0.0005, 0.0005))
            assert re.search(rf"{row['bytes']:,.0f}.*\b({aps})", text)
    assert page.count("\n## ") == 4 + len({row["family"] for row in runs.document["rows"]})
    assert {path.name for path in runs.out.iterdir()} == {"rate.json", "rate.md", "rate.png"}


def test_the_plot_shows_every_family_in_its_colour(runs: Runs) -> None:
    with Image.open(runs.out / "rate.png") as plot:
        assert min(plot.size) > 500
        colours = {colour for _, colour in plot.convert("RGB").getcolors(1 << 20)}
    assert {(0xE6, 0x9F, 0x00), (0x00, 0x9E, 0x73), (0xCC, 0x79, 0xA7), (0, 0, 0)} <= colours


def test_more_rows_and_fewer_pictures_measure_only_what_is_new(
    run: Run, runs: Runs, data_folder: Path, tmp_path: Path
) -> None:
    codecs = [*CODECS, "raw:precision=int2,ranges=minmax"]
    result = run(data_folder, runs.cache, tmp_path, "--limit", "2", codecs=codecs)
    assert result.exit_code == 0, result.stderr
    assert measured(result) == 2
    assert json.loads((tmp_path / "rate.json").read_text())["pictures"] == 2


def test_a_cache_of_other_pictures_is_refused(run: Run, runs: Runs, data_folder: Path, tmp_path: Path) -> None:
    for path in data_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    Image.new("RGB", (512, 512)).save(tmp_path / "7.jpg")
    result = run(tmp_path, runs.cache, tmp_path / "out")
    assert result.exit_code == 2
    expected = (
        r"error: .*expected measurements of these pictures \(.*7\.jpg has \d+ bytes\), found .* \(\d+ bytes\)\. .*\n"
    )
    assert re.fullmatch(expected, result.stderr)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--codec", "raw:precision=int9"], "codec raw, precision: expected one of fp32"),
        (["--codec", "nonsense"], "codec: expected one of interpolate"),
        (["--detector", "no_such_model"], "model 'no_such_model': expected a model folder"),
        (["--images", "no_such_folder"], "no_such_folder: expected the folder of the pictures"),
        (["--annotations", "no_such_file"], "no_such_file: expected an annotation file"),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_exit_code_2(
    run: Run, data_folder: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = run(data_folder, tmp_path / "cache", tmp_path / "out", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_annotations_of_foreign_categories_are_refused(run: Run, data_folder: Path, tmp_path: Path) -> None:
    document = json.loads((data_folder / "annotations.json").read_text())
    document |= {"categories": [{"id": 1001, "name": "galaxy"}], "annotations": []}
    foreign = tmp_path / "foreign.json"
    foreign.write_text(json.dumps(document))
    result = run(data_folder, tmp_path / "cache", tmp_path / "out", "--annotations", str(foreign))
    assert result.exit_code == 2
    assert "foreign.json: expected annotations in categories of the detector" in result.stderr


def test_a_picture_that_fails_in_a_worker_is_named_and_is_no_wrong_usage(
    run: Run, data_folder: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "pictures"
    shutil.copytree(data_folder, folder)
    (folder / "7.jpg").write_bytes((folder / "7.jpg").read_bytes()[:2000])  # the header is good
    result = run(folder, tmp_path / "cache", tmp_path / "out", codecs=CODECS[:1])
    assert (result.exit_code, result.stdout) == (1, "")
    error = result.stderr.splitlines()[-1]
    assert re.match(r"error: .*7\.jpg: expected a picture, found a corrupt one.*", error)
    assert not (tmp_path / "out").exists()


def test_help_teaches_by_an_example() -> None:
    result = CliRunner().invoke(app, ["rate", "--help"])
    assert result.exit_code == 0
    assert "keyfpn-bench rate --images val2017 --annotations val2017.json" in result.stdout
