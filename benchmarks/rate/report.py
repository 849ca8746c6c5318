"""The result as tables, for a terminal and in Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from rich.console import Console

from keyfpn.console.tables import Table, ap, interval, print_tables, ratio, signed

from ..engine.bootstrap import CONFIDENCE, RESAMPLES
from ..engine.evaluation import AGREEMENT_SCORE, Figures
from .curves import BdRate
from .result import DROPS, STUDY_RATIO, RateResult
from .rows import RateRow

_METHOD = f"""## How to read this

* **Split rows** (`raw`, `interpolate`, …) go the whole way: backbone, codec, packet, bytes, parse, decode, RPN and ROI
  heads. Their bytes are the length of the packet.
* **Sent pictures** (`jpeg`, `webp`, `avif`) are resized once, by the detector's own test transform, stripped of EXIF
  and colour profile, encoded, decoded, and not resized again. Sizes 0.75 and 0.5 are resized from the original to that
  share of the network size, and scaled up by the server. JPEG is optimized and progressive, WebP has method 6, AVIF
  speed 4. `original` is the file as it is; the detector that reads it is the unsplit one.
* **Lower envelope** of a family: its rows that no other of its rows beats or equals in both bytes and AP, over all
  sizes and subsamplings. Rates at a drop lie on it, linear in the logarithm of bytes, or on the line of one size where
  that needs fewer bytes; BD-rates (pchip) compare two envelopes, and need four points on each and an AP range that both
  cover.
* **dAP**: the {100 * CONFIDENCE:.0f} % interval of the AP difference to the unsplit detector, by a paired bootstrap
  over pictures ({RESAMPLES} resamples).
* **agree**: AP against the unsplit detector's own boxes of score {AGREEMENT_SCORE} or more in place of the annotations.
"""


def print_report(result: RateResult, console: Console) -> None:
    """Print summary and tables."""
    console.print(summary(result), highlight=False)
    print_tables(tables(result), console)


def to_markdown(result: RateResult) -> str:
    """The whole report as a Markdown page."""
    head = f"# Rate against AP: {result.model.name}\n\n{summary(result)}\n\n![Bytes per picture against AP](rate.png)\n"
    return "\n".join([head, *(table.to_markdown() for table in tables(result)), _METHOD])


def summary(result: RateResult) -> str:
    """What was measured and how, in a few sentences."""
    sizes, unsplit = result.model.preprocessor, result.figures[0].metrics
    return (
        f"{result.pictures} pictures, short side {sizes.short_side} (long side at most {sizes.long_side_max}), "
        f"{result.precision}. The unsplit detector has {unsplit.AP:.2f} AP (AP50 {ap(unsplit.AP50)}, small "
        f"{ap(unsplit.APs)}, medium {ap(unsplit.APm)}, large {ap(unsplit.APl)}); its p2 to p6 as float32 take "
        f"{result.raw_bytes:,.0f} bytes per picture, which is 1x. Bytes are the mean per picture of what is really "
        "sent: whole serialized packets, or encoded picture files. RPN and ROI heads both work on the rebuilt pyramid."
    )


def tables(result: RateResult) -> Iterator[Table]:
    """The study's line first, then rates at a drop, BD-rates, and every row."""
    yield _study_table(result)
    yield _drop_table(result)
    yield _bd_table(result)
    for family in result.families:
        yield _family_table(result, family)


def _study_table(result: RateResult) -> Table:
    rows = []
    for family, reached in result.at_study_rate.items():
        drop = None if reached is None else reached - result.unsplit_ap
        relative = None if drop is None else 100 * drop / result.unsplit_ap
        rows.append((family, ap(reached), signed(drop), "–" if relative is None else f"{signed(relative)} %"))
    title = (
        f"What {STUDY_RATIO}x ({result.raw_bytes / STUDY_RATIO:,.0f} bytes per picture) costs: best AP within that rate"
    )
    return Table(title, ("family", "AP", "points", "relative"), rows)


def _drop_table(result: RateResult) -> Table:
    columns = ["line"]
    for drop, words in DROPS.items():
        columns += [f"{words} ({result.floors[drop]:.2f} AP)", "compression ratio"]
    rows = []
    for line in result.lines:
        cells = [line]
        for drop in DROPS:
            rate = result.at_drop[drop][line]
            cells += ["–", "–"] if rate is None else [f"{rate:,.0f}", ratio(result.raw_bytes / rate)]
        rows.append(cells)
    return Table(
        "What a drop buys: the fewest bytes per picture within it (–: the line does not cross it)", columns, rows
    )


def _bd_table(result: RateResult) -> Table:
    rows = [
        (test, *("" if baseline == test else _bd_rate(rates[baseline]) for baseline in result.families))
        for test, rates in result.bd_rates.items()
    ]
    title = "BD-rate: bytes more or less at equal AP than the column's family (share of the AP range that both cover)"
    return Table(title, ("family", *result.families), rows)


def _bd_rate(rate: BdRate) -> str:
    return "–" if rate.percent is None else f"{signed(rate.percent, 1)} % ({100 * rate.overlap:.0f} %)"


def _family_table(result: RateResult, family: str) -> Table:
    pairs = [(row, figures) for row, figures in zip(result.rows, result.figures, strict=True) if row.family == family]
    names = max((_options(row.setting)[0] for row, _ in pairs), key=len)
    columns = (", ".join(names), "bytes", "compression ratio", "AP", "dAP, 95 %", "AP50", "S", "M", "L", "agree")
    return Table(family, columns, [_figures_row(result, row, figures) for row, figures in pairs])


def _options(setting: str) -> tuple[list[str], list[str]]:
    """Names and values of the options in a setting; one that has none is its own value."""
    pairs = [option.partition("=") for option in setting.partition(":")[2].split(",") if option]
    return [name for name, _, _ in pairs], [value for _, _, value in pairs] or [setting]


def _figures_row(result: RateResult, row: RateRow, figures: Figures) -> list[str]:
    metrics = figures.metrics
    return [
        " ".join(_options(row.setting)[1]),
        f"{figures.bytes:,.0f}",
        ratio(result.raw_bytes / figures.bytes),
        f"{metrics.AP:.2f}",
        interval(figures.intervals["AP"]),
        *(ap(value) for value in (metrics.AP50, metrics.APs, metrics.APm, metrics.APl, figures.agreement)),
    ]
