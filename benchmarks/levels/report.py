"""The level study as tables and findings, for a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from rich.console import Console

from keyfpn.console.tables import Table, ap, interval, print_tables, ratio, signed
from keyfpn.reconstruct.key_levels.parameters import Mix

from ..engine.bootstrap import CONFIDENCE, RESAMPLES
from ..engine.codecs import CodecWay
from ..engine.evaluation import AGREEMENT_SCORE
from ..rate.result import STUDY_RATIO
from .mix import best
from .plot import FIGURES
from .rebuild import KEY_LEVELS, LEVELS, Degrade, P4Mix
from .result import SIZES, STUDY_PAIRS, LevelResult
from .rows import FACTORS, PAIRS, STUDY_RULES, Kind, Measured, own_mix
from .scopes import SCOPES, Scope

_LARGEST = FACTORS[-1]
_KINDS: Mapping[Kind, str] = MappingProxyType(
    {
        "keyset": "Key levels in float32",
        "precision": "The study's key levels in fewer bytes",
        "p4mix": "p3 and p5 sent: the rule for p4, a and b",
        "degrade": "Degraded levels, factors of p2 to p6",
    }
)
_METHOD = f"""## How to read this

* **Scopes.** `rpn`: the RPN works on the degraded or rebuilt pyramid, the ROI heads on the true one, as in the study.
  `full`: both work on the rebuilt one, as on a server, which has no other.
* **Degraded** levels are scaled down by a factor and up again, bilinear both ways. `p4mix` sends p3 and p5 in float32
  and rebuilds p4 as a · up(p5) + b · down(p3). Key sets are whole packets, decoded.
* **values** are sent, mean per picture. The **compression ratio** is against p2 to p6 in float32: by count of values
  for degraded levels and `p4mix`, by bytes of whole packets for key levels. A detector in bf16 leaves the low half of a
  float32 empty, which zstd finds and no study of float32 features would.
* **dAP**: the {100 * CONFIDENCE:.0f} % interval of the AP difference to the unsplit detector, by a paired bootstrap
  over pictures ({RESAMPLES} resamples). A star marks a difference whose interval leaves out 0: the others are within
  the noise.
* **agree**: AP against the unsplit detector's own boxes of score {AGREEMENT_SCORE} or more in place of the annotations.
* **S, M, L** are COCO's bounds on the annotations' own `area`.
"""


def print_report(result: LevelResult, console: Console) -> None:
    """Print summary, findings and tables."""
    console.print(summary(result), highlight=False)
    for line in findings(result):
        console.print(f"\n{line}", highlight=False)
    print_tables(tables(result), console)


def to_markdown(result: LevelResult, figures: Sequence[str]) -> str:
    """The whole report as a Markdown page.

    Args:
        result: what to report.
        figures: names of the figures' files that lie beside the page.
    """
    head = f"# Level study: {result.model.name}\n\n{summary(result)}\n"
    shown = "\n".join(f"![{FIGURES[name]}]({name})\n" for name in figures)
    said = "\n".join(f"* {line}" for line in findings(result)) + "\n"
    parts = [head, *([f"## Findings\n\n{said}"] if said.strip() else []), *([shown] if shown else [])]
    return "\n".join([*parts, *(table.to_markdown() for table in tables(result)), _METHOD])


def summary(result: LevelResult) -> str:
    """What was measured and how, in a few sentences."""
    sizes, unsplit = result.model.preprocessor, result.unsplit.metrics
    return (
        f"{result.pictures} pictures, short side {sizes.short_side} (long side at most {sizes.long_side_max}), "
        f"{result.precision}. The unsplit detector has {unsplit.AP:.2f} AP (AP50 {ap(unsplit.AP50)}, small "
        f"{ap(unsplit.APs)}, medium {ap(unsplit.APm)}, large {ap(unsplit.APl)}); its p2 to p6 are "
        f"{result.raw_elements:,.0f} values per picture, which is 1x."
    )


def findings(result: LevelResult) -> Iterator[str]:
    """What the numbers say, in sentences."""
    if result.of("keyset", "full"):
        yield _headline(result)
        yield from (_front(result, scope) for scope in SCOPES)
        yield _cheapest(result)
    if result.search is not None:
        yield _winner(result)


def _headline(result: LevelResult) -> str:
    by_count = result.raw_elements / result.studys("full")[0].elements
    words = [
        f"By count of values, {'+'.join(KEY_LEVELS)} are {by_count:.3f}x less than p2 to p6. The study's "
        f"{STUDY_RATIO}x is another {STUDY_RATIO / by_count:.3f}x, which sending these levels does not give and the "
        "study does not explain."
    ]
    within = {scope: result.at_study_ratio(scope) for scope in SCOPES}
    found = within["full"]
    if found is not None:
        drops = " and ".join(f"{_drop(result, one)} ({scope})" for scope, one in within.items() if one is not None)
        words.append(
            f"Of what was measured, {found.row.setting} is the first beyond it, {ratio(result.ratio(found))}x: {drops}."
        )
    return " ".join(words)


def _drop(result: LevelResult, one: Measured) -> str:
    drop = one.ap - result.unsplit.metrics.AP
    relative = 100 * drop / result.unsplit.metrics.AP
    return f"{one.ap:.2f} AP, {signed(drop)} points or {signed(relative, 1)} %"


def _front(result: LevelResult, scope: Scope) -> str:
    study, front = result.studys(scope)[0], result.front(scope)
    names = ", ".join(f"{_set_name(one)} ({one.ap:.2f})" for one in front)
    if study in front:
        verdict = "is on it"
    else:
        beats = [one for one in result.of("keyset", scope) if one.elements <= study.elements and one.ap >= study.ap]
        beats.remove(study)
        verdict = f"is not: {', '.join(f'{_set_name(one)} has {one.ap:.2f}' for one in beats)} for no more values"
    return f"Pareto front, scope {scope}: {names}. {_set_name(study)} ({study.ap:.2f}) {verdict}."


def _cheapest(result: LevelResult) -> str:
    words = []
    for scope in SCOPES:
        one = result.cheapest(scope)
        assert one is not None  # without a search over the key sets there is no such finding
        words.append(f"{_set_name(one)} ({ratio(result.ratio(one))}x, {_drop(result, one)}) in the scope {scope}")
    return f"The cheapest key levels within −{result.max_drop:g} AP: {'; '.join(words)}."


def _winner(result: LevelResult) -> str:
    search = result.search
    assert search is not None
    winner, centre = best(search.measured, search.scope), search.at(search.least_squares, search.scope)
    return (
        f"The rule for p4, on {search.pictures} train pictures: least squares {_pair(search.least_squares)} with "
        f"{centre.ap:.2f} AP, best of all tried in the scope {search.scope} {_pair(search.winner)} with "
        f"{winner.ap:.2f} (difference within {interval(search.gain)}). To give it to a model: keyfpn-train fit --mix "
        f"{_argument(search.winner)}"
    )


def tables(result: LevelResult) -> Iterator[Table]:
    """What each size loses first, then every setting."""
    if result.find(Degrade.of(LEVELS, _LARGEST), "full"):
        study = {name: ", ".join(pair) for name, (pair, _) in STUDY_PAIRS.items()}
        title = f"What objects of each size lose with one level at {_LARGEST:g}"
        yield _size_table(title, [(level,) for level in LEVELS], study, result)
        study = {name: f"{'+'.join(pair)}: {signed(drop, 1)}" for name, (pair, drop) in STUDY_PAIRS.items()}
        title = f"What objects of each size lose with two neighbours at {_LARGEST:g}"
        yield _size_table(title, PAIRS, study, result)
    for kind, words in _KINDS.items():
        if pairs := list(result.both(kind)):
            yield _settings_table(words, pairs, result)


def _size_table(title: str, sets: Sequence[tuple[str, ...]], study: Mapping[str, str], result: LevelResult) -> Table:
    rows = []
    for name, words in {"AP": "all", **SIZES}.items():
        for scope in SCOPES:
            losses = [_loss(result, Degrade.of(levels, _LARGEST), scope, name) for levels in sets]
            rows.append((f"{words}, {scope}", *losses, study.get(name, "")))
    return Table(title, ("objects, scope", *("+".join(levels) for levels in sets), "in the study"), rows)


def _loss(result: LevelResult, how: Degrade, scope: Scope, name: str) -> str:
    one = result.find(how, scope)
    if one is None:
        return "–"
    low, high = one.figures.intervals[name]
    lost = getattr(one.figures.metrics, name) - getattr(result.unsplit.metrics, name)
    return f"{signed(lost)}{' *' if low > 0 or high < 0 else ''}"


def _settings_table(title: str, pairs: Sequence[Mapping[Scope, Measured]], result: LevelResult) -> Table:
    rows = []
    for pair in pairs:
        for scope, one in pair.items():
            metrics = one.figures.metrics
            values = (metrics.AP50, metrics.APs, metrics.APm, metrics.APl, one.figures.agreement)
            said = (_words(result, one), f"{one.elements:,.0f}", ratio(result.ratio(one)))
            said = said if scope == SCOPES[0] else ("", "", "")
            cells = (scope, ap(metrics.AP), interval(one.figures.intervals["AP"]), *(ap(value) for value in values))
            rows.append((*said, *cells))
    figures = ("AP", "dAP, 95 %", "AP50", "S", "M", "L", "agree")
    return Table(title, ("setting", "values", "compression ratio", "scope", *figures), rows)


def _words(result: LevelResult, one: Measured) -> str:
    if isinstance(one.row.how, P4Mix):
        return _mix_words(result, one.row.how.mix)
    if one.row.kind == "keyset":
        return _set_name(one)
    if isinstance(one.row.how, CodecWay):
        return " ".join(value for name, value in one.row.how.settings.options if name != "levels")
    return one.row.setting


def _set_name(one: Measured) -> str:
    levels = "+".join(one.row.key_levels or ())
    codec = one.row.setting.partition(":")[0]
    return levels if codec == "interpolate" else f"{levels} by {codec}"


def _mix_words(result: LevelResult, mix: Mix) -> str:
    names = [STUDY_RULES[mix]] if mix in STUDY_RULES else []
    if result.search is not None:
        names += ["least squares"] if mix == result.search.least_squares else []
        names += ["best of all tried"] if mix == result.search.winner else []
    names += ["model's"] if mix == own_mix(result.model) else []
    return f"{mix[0]:.2f}, {mix[1]:.2f}: {', '.join(names)}"


def _pair(mix: Mix) -> str:
    return f"({mix[0]:g}, {mix[1]:g})"


def _argument(mix: Mix) -> str:
    """As ``keyfpn-train fit --mix`` takes it."""
    a, b = mix
    return f"p4={a!r},{b!r}"
