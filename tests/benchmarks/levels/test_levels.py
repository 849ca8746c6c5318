"""The level study from the command line, on two small pictures."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from keyfpn.benchmarks import options as options_module
from keyfpn.benchmarks.cli import app
from keyfpn.benchmarks.engine.errors import BenchmarkError
from keyfpn.benchmarks.engine.features import FeatureCache
from keyfpn.benchmarks.levels import mix, plot
from keyfpn.benchmarks.levels import rows as level_rows
from keyfpn.benchmarks.levels.study import run_levels
from keyfpn.benchmarks.rate import rows
from keyfpn.detector.model import Model
from keyfpn.reconstruct.key_levels.parameters import Parameters

SharePool = Callable[[int], Any]
Run = Callable[..., Result]
PICTURES = 2
STEPS = (-0.1, 0.0, 0.1)
FACTORS = (2.0, 16.0)
DEGRADATIONS = len(FACTORS) * (5 + 1) + 4  # each level alone and all together, neighbours at the largest
RULES = 3  # of the study: p3 scaled down, p5 scaled up, the even mix
FIGURES = {"factors.png", "pairs.png", "p4mix.png", "keysets.png"}
METRICS = ("AP", "AP50", "APs", "APm", "APl")


@pytest.fixture(scope="module")
def run(quick_model: Model, share_worker: SharePool) -> Iterator[Run]:
    """Runs a command on a few pictures, in this process but for the worker, with a small search."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (level_rows, plot):
            patch.setattr(module, "FACTORS", FACTORS)
        patch.setattr(mix, "_STEPS", STEPS)
        patch.setattr(mix, "beyond", lambda *_: [])  # on two pictures it would follow noise
        patch.setattr(rows, "default_baselines", lambda sizes: [])
        patch.setattr(options_module, "Pool", share_worker)
        yield partial(run_command, str(quick_model.folder))


def run_command(detector: str, folder: Path, cache: Path, out: Path, *options: str, command: str = "levels") -> Result:
    arguments = [command, "--images", str(folder), "--annotations", str(folder / "annotations.json")]
    arguments += ["--out", str(out), "--cache", str(cache), "--workers", "1", "--precision", "fp32"]
    return CliRunner().invoke(app, [*arguments, "--detector", detector, "--limit", str(PICTURES), *options])


def measured(result: Result) -> int:
    """How many measurements a run made."""
    return sum(int(count) for count in re.findall(r"measuring: (\d+) of \1 after", result.stderr))


@dataclass(frozen=True)
class Study:
    """The whole study, run twice."""

    cache: Path
    out: Path
    first: Result
    repeated: Result

    @property
    def document(self) -> dict[str, Any]:
        return json.loads((self.out / "levels.json").read_text())

    def rows(self, kind: str, scope: str) -> list[dict[str, Any]]:
        return [row for row in self.document["rows"] if (row["kind"], row["scope"]) == (kind, scope)]

    def key_set(self, scope: str, *levels: str) -> dict[str, Any]:
        return next(row for row in self.rows("keyset", scope) if row["key_levels"] == list(levels))


@pytest.fixture(scope="module")
def study(run: Run, data_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Study:
    cache, out, train = (tmp_path_factory.mktemp(name) for name in ("cache", "out", "train"))
    for path in data_folder.iterdir():
        shutil.copy(path, train / path.name)
    document = json.loads((train / "annotations.json").read_text())  # another data set: other annotations
    (train / "annotations.json").write_text(json.dumps({**document, "annotations": document["annotations"][:-1]}))
    options = ["--train-images", str(train), "--train-annotations", str(train / "annotations.json")]
    first = run(data_folder, cache, out, *options)
    repeated = run(data_folder, cache, out, *options, "--json")
    return Study(cache, out, first, repeated)


def test_everything_is_measured_once_and_every_file_is_there(study: Study) -> None:
    assert study.first.exit_code == 0, study.first.stderr
    searched = {tuple(study.document["p4_search"][found]) for found in ("least_squares", "winner")}
    settings = DEGRADATIONS + 15 + 3 + RULES + 1 + len(searched)
    grid = len(STEPS) ** 2
    assert measured(study.first) == PICTURES * (1 + 2 * settings + 1 + 2 * grid)
    assert measured(study.repeated) == 0
    assert json.loads(study.repeated.stdout) == study.document
    assert {path.name for path in study.out.iterdir()} == {"levels.json", "levels.md"} | FIGURES
    for name in FIGURES:
        with Image.open(study.out / name) as figure:
            assert min(figure.size) > 400


def test_the_size_of_the_features_is_said_before_there_is_any_work(study: Study) -> None:
    lines = study.first.stderr.splitlines()
    said = [re.search(r"features of 2 pictures: (\d\.\d\d) GB more on the disk", line) for line in lines[:2]]
    files = [path.stat().st_size for path in study.cache.rglob("*.fp32")]
    assert len(files) == 2 * PICTURES
    assert sum(float(match[1]) for match in said if match) == pytest.approx(sum(files) / 1e9, abs=0.011)


def test_both_scopes_have_every_setting(study: Study) -> None:
    kinds = Counter((row["kind"], row["scope"]) for row in study.document["rows"])
    for kind, count in (("degrade", DEGRADATIONS), ("keyset", 15), ("precision", 3)):
        assert kinds[kind, "rpn"] == kinds[kind, "full"] == count
    for row in study.document["rows"]:
        assert {*METRICS, "agreement", "xfold", "elements", "bytes", "dAP_low", "dAPl_high"} <= set(row)
        assert {"degrade": "factors", "p4mix": "a"}.get(row["kind"], "key_levels") in row


def test_all_levels_sent_are_the_unsplit_detector(study: Study) -> None:
    for scope in ("rpn", "full"):
        row = study.key_set(scope, "p2", "p3", "p4", "p5")
        assert {name: row[name] for name in METRICS} == study.document["unsplit"]
        assert (row["agreement"], row["dAP_low"], row["dAP_high"]) == (100, 0, 0)


def test_what_the_roi_heads_do_not_read_is_alike_in_both_scopes(study: Study) -> None:
    def of(scope: str, factors: list[float]) -> dict[str, Any]:
        (row,) = [row for row in study.rows("degrade", scope) if row["factors"] == factors]
        return {name: row[name] for name in (*METRICS, "agreement")}

    assert of("rpn", [1, 1, 1, 1, 16]) == of("full", [1, 1, 1, 1, 16])
    assert of("rpn", [16] * 5) != of("full", [16] * 5)


def test_the_models_own_mix_is_the_key_set_of_the_study(study: Study, quick_model: Model) -> None:
    a, b = Parameters.of(quick_model).mixes["p4", "p3", "p5"]
    for scope in ("rpn", "full"):
        (row,) = [row for row in study.rows("p4mix", scope) if (row["a"], row["b"]) == (a, b)]
        same = study.key_set(scope, "p3", "p5")
        assert {name: row[name] for name in (*METRICS, "agreement")} == {
            name: same[name] for name in (*METRICS, "agreement")
        }
        assert row["xfold"] == pytest.approx(5.015, abs=0.02)
        assert row["bytes"] < same["bytes"] < row["bytes"] + 128  # the packet's header


def test_the_winner_is_the_best_of_the_grid_on_train_pictures(study: Study) -> None:
    search = study.document["p4_search"]
    assert len(search["rows"]) == 2 * len(STEPS) ** 2
    full = [row for row in search["rows"] if row["scope"] == "full"]
    winner = max(full, key=lambda row: row["AP"])
    assert winner["AP"] == next(row["AP"] for row in full if [row["a"], row["b"]] == search["winner"])
    assert any([row["a"], row["b"]] == search["least_squares"] for row in full)
    assert search["winner"] in [[row["a"], row["b"]] for row in study.rows("p4mix", "full")]
    assert search["winner_less_least_squares"]["dAP_high"] >= 0


def test_the_report_says_how_to_give_the_winner_to_a_model(study: Study) -> None:
    for text in (study.first.stdout, (study.out / "levels.md").read_text()):
        found = re.search(r"keyfpn-train fit --mix p4=(\S+),(\S+)", " ".join(text.split()))
        assert found
        assert [float(value) for value in found.groups()] == study.document["p4_search"]["winner"]


def test_conclusions_follow_from_the_rows(study: Study) -> None:
    document = study.document
    for scope in ("rpn", "full"):
        sets = study.rows("keyset", scope)
        floor = document["unsplit"]["AP"] - 1.4
        cheapest = min((row for row in sets if row["AP"] >= floor), key=lambda row: row["elements"])
        assert document["cheapest"][scope] == cheapest["setting"]
        front = [
            row["setting"]
            for row in sets
            if not any(
                other["elements"] <= row["elements"]
                and other["AP"] >= row["AP"]
                and (other["elements"], other["AP"]) != (row["elements"], row["AP"])
                for other in sets
            )
        ]
        assert set(document["pareto_front"][scope]) == set(front)
        verdict = "is on it" if study.key_set(scope, "p3", "p5")["setting"] in front else "is not:"
        text = " ".join(study.first.stdout.split())
        assert re.search(rf"Pareto front, scope {scope}: .*?p3\+p5 \([\d.]+\) {verdict}", text)
        assert "The cheapest key levels within −1.4 AP" in text


def test_the_page_has_every_setting_and_figure(study: Study) -> None:
    page = re.sub(" +", " ", (study.out / "levels.md").read_text())
    for name in FIGURES:
        assert f"]({name})" in page
    for scope in ("rpn", "full"):
        assert page.count(f" | {scope} | ") == sum(row["scope"] == scope for row in study.document["rows"])
    unsplit = study.document["unsplit"]["AP"]
    assert f"| p2+p3+p4+p5 | {study.key_set('rpn', 'p2', 'p3', 'p4', 'p5')['elements']:,.0f} |" in page
    assert f"| full | {unsplit:.2f} | +0.00 … +0.00 |" in page
    assert "in the study" in page
    assert "p2+p3: −10.0" in page


def test_rows_of_the_full_scope_serve_the_rate_benchmark(
    run: Run, study: Study, data_folder: Path, tmp_path: Path
) -> None:
    codec = ["--codec", "interpolate:levels=p3+p5,precision=fp32"]
    result = run(data_folder, study.cache, tmp_path, *codec, command="rate")
    assert result.exit_code == 0, result.stderr
    assert measured(result) == 0


def test_one_degradation_alone(run: Run, study: Study, data_folder: Path, tmp_path: Path) -> None:
    result = run(data_folder, study.cache, tmp_path, "--cr", "1", "1", "1", "1", "16", "--json", "--cr", "p2=1.5")
    assert result.exit_code == 0, result.stderr
    assert measured(result) == PICTURES * 2  # the first is in the study
    document = json.loads(result.stdout)
    assert [(row["factors"], row["scope"]) for row in document["rows"]] == [
        ([1, 1, 1, 1, 16], "rpn"),
        ([1, 1, 1, 1, 16], "full"),
        ([1.5, 1, 1, 1, 1], "rpn"),
        ([1.5, 1, 1, 1, 1], "full"),
    ]
    assert (document["cheapest"], document["p4_search"]) == ({"rpn": None, "full": None}, None)
    assert {path.name for path in tmp_path.iterdir()} == {"levels.json", "levels.md"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--cr", "1", "1", "0.5", "1", "1"], "--cr 1 1 0.5 1 1: expected factors of at least 1, found 0.5"),
        (["--cr", "1", "1", "1", "1", "1", "4"], "expected 5 factors, for p2, p3, p4, p5, p6, found 6"),
        (["--cr", "p7=2"], "expected levels among p2, p3, p4, p5, p6, found p7"),
        (["--train-images", "."], "expected --train-images and --train-annotations together"),
        (["--cr", "p2=2", "--train-images", ".", "--train-annotations", "a.json"], "Leave --train-images"),
        (["--train-images", "no_such_folder", "--train-annotations", "a.json"], "no_such_folder: expected the folder"),
        (["--detector", "no_such_model"], "model 'no_such_model': expected a model folder"),
    ],
)
def test_what_the_user_can_mend_is_one_line_before_any_work(
    run: Run, data_folder: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = run(data_folder, tmp_path / "cache", tmp_path / "out", *options)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("error: ")
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.rglob("*.fp32"))


def test_a_detector_of_other_levels_is_refused(quick_model: Model) -> None:
    pyramid = dataclasses.replace(quick_model.pyramid, independent=("p3", "p4", "p5"))
    session: Any = SimpleNamespace(model=dataclasses.replace(quick_model, pyramid=pyramid))
    with pytest.raises(BenchmarkError, match=r"the levels p2, .* found p3, p4, p5, p6"):
        run_levels(session)


def test_annotations_without_pictures_are_refused(run: Run, data_folder: Path, tmp_path: Path) -> None:
    shutil.copy(data_folder / "annotations.json", tmp_path)
    result = run(tmp_path, tmp_path / "cache", tmp_path / "out")
    assert result.exit_code == 2
    assert re.fullmatch(
        r"error: .*expected the pictures that annotations\.json names, found 2 of 2 missing.*\n", result.stderr
    )


def test_a_disk_that_cannot_hold_both_data_sets_is_refused(
    run: Run, data_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    reserve = FeatureCache.reserve

    def full_after_the_first(self: FeatureCache, pictures: Any, promised: int = 0) -> int:
        size = reserve(self, pictures, promised)
        monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(0, 0, 2 * size - 1))
        asked.append(size)
        return size

    monkeypatch.setattr(FeatureCache, "reserve", full_after_the_first)
    train = ["--train-images", str(data_folder), "--train-annotations", str(data_folder / "annotations.json")]
    result = run(data_folder, tmp_path / "cache", tmp_path / "out", *train)
    assert result.exit_code == 2
    assert len(asked) == 1
    assert "of free disk for the features of 2 pictures" in result.stderr
    assert not list(tmp_path.rglob("*.fp32"))
