"""The page of one run or of several: which panels it has, in which order."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from partialfc.data.parallel.progress import ShowProgress, no_progress
from partialfc.report.page import EMPTY, Html, Section, facts, folded, page_text, paragraph, plain, write_page
from partialfc.report.run_page.angle_charts import angle_charts
from partialfc.report.run_page.assets import scripts, style
from partialfc.report.run_page.chart import charts
from partialfc.report.run_page.compared import comparison_blocks
from partialfc.report.run_page.config_table import config_blocks
from partialfc.report.run_page.curves import curve_charts, verification_charts
from partialfc.report.run_page.image_blocks import (
    class_size_chart,
    class_size_table,
    hard_pair_blocks,
    image_list,
    map_chart,
)
from partialfc.report.run_page.looks import HardPairs
from partialfc.report.run_page.runs import Run
from partialfc.report.run_page.score_charts import (
    MOST_BANDS,
    Curve,
    curve_of,
    figures_table,
    score_charts,
    why_no_band,
)
from partialfc.report.run_page.stage_table import setting_charts, stage_blocks
from partialfc.report.run_page.step_time import step_time_blocks, step_time_charts

MAIN = (  # the keys of a config that a reader asks for first
    "data.train",
    "data.image_size",
    "backbone.name",
    "backbone.embedding_size",
    "objective.name",
    "head.name",
    "head.margin.name",
    "head.margin.scale",
    "head.margin.margin",
    "head.sample_rate",
    "optimizer.name",
    "optimizer.lr",
    "schedule.name",
    "train.batch_size",
    "train.steps",
    "train.epochs",
    "train.amp",
    "run.seed",
)


def write_run_page(runs: Sequence[Run], output: Path, *, progress: ShowProgress = no_progress) -> Path:
    """Write the page of these runs to the file `output`, which is returned; their names differ.

    Raises ConfigError where it cannot be written.
    """
    several = len(runs) > 1
    title = f"Runs {', '.join(run.name for run in runs)}" if several else f"Run {runs[0].name}"
    curves = {name: list(_curves(runs, name, progress)) for name in _sets(runs)}
    text = page_text(
        title,
        _lead(runs, curves),
        [*_sections(runs, curves)],
        bar=_bar(runs) if several else EMPTY,
        style=style(),
        scripts=scripts(),
    )
    return write_page(output, text)


def _bar(runs: Sequence[Run]) -> Html:
    """The legend of all charts: a button for each run, which picks it."""
    keys = (
        f'<button type="button" data-pick="{place}" aria-pressed="false"><i></i>{plain(run.name)}</button>'
        for place, run in enumerate(runs)
    )
    every = '<button type="button" data-pick="all">all</button>'
    return Html(f'<div class="runs" role="group" aria-label="Runs to show">{every}{"".join(keys)}</div>')


def _of_run(place: int, blocks: Sequence[Html]) -> Html:
    """Blocks about one run alone, on a page of several."""
    return Html(f'<div data-run="{place}">{"".join(blocks)}</div>')


def _sets(runs: Sequence[Run]) -> list[str]:
    return list(dict.fromkeys(scores.name for run in runs for scores in run.scores))


def _curves(runs: Sequence[Run], name: str, progress: ShowProgress) -> Iterator[Curve]:
    """Of a set: of one run what there is from before training and of the newest; of several the newest."""
    several = len(runs) > 1
    for place, run in enumerate(runs):
        for scores in run.scores:
            if scores.name != name or (several and scores.untrained):
                continue
            when = "before training" if scores.untrained else f"step {scores.step}"
            called = run.name if several else when
            yield curve_of(called, scores, run=place if several else None, progress=progress)


def _lead(runs: Sequence[Run], curves: dict[str, list[Curve]]) -> list[Html]:
    if len(runs) > 1:
        hint = "Pick a run below to see it alone, and others to add them."
        if len(runs) > MOST_BANDS:
            hint += f" Bands are drawn while at most {MOST_BANDS} runs are shown."
        return [
            paragraph(f"{len(runs)} runs; differences are from {runs[0].name}."),
            Html(f'<p class="hint">{plain(hint)}</p>'),
            *(each for run in runs for each in _warnings(run, f"{run.name}: ")),
        ]
    run = runs[0]
    steps, seconds = run.log.column("step"), run.log.column("seconds")
    losses = run.log.column("loss")
    wanted = run.config.get("train.steps", "")
    unfinished = wanted.isdigit() and steps[-1] < int(wanted)
    found = {
        "steps": f"{steps[-1]:,.0f}" + (f" of {int(wanted):,}" if unfinished else ""),
        "training time": _duration(float(np.nansum(seconds))),
        "last loss": f"{losses[-1]:.4g}" if np.isfinite(losses[-1]) else "not finite",
    }
    samples = run.log.column("samples")
    if np.isfinite(samples[-1]):
        found["images seen"] = f"{samples[-1]:,.0f}"
    for name, each in curves.items():
        for curve in each:
            if not curve.untrained:
                found[f"accuracy on {name}"] = f"{curve.result.accuracy:.2%}"
    return [facts(found), *_warnings(run)]


def _warnings(run: Run, whose: str = "") -> list[Html]:
    """What went so wrong that a reader should know it before looking at anything.

    whose: the name of the run, on a page of several.
    """
    steps, losses = run.log.column("step"), run.log.column("loss")
    said = []
    if not np.isfinite(losses[-1]):
        finite = steps[np.isfinite(losses)]
        since = (
            f"The last finite loss is that of step {finite[-1]:,.0f}" if len(finite) else "No loss is finite"
        )
        said.append(
            f"{since}: the run has diverged. Look at learning rate and gradient before that, and start again "
            "with a lower optimizer.lr, more schedule.warmup_steps, or train.clip_norm."
        )
    skipped = run.log.column("nonfinite_steps")
    if np.nan_to_num(skipped[-1]) > 0:
        said.append(f"{skipped[-1]:,.0f} steps were skipped, as something in them was not finite.")
    return [Html(f'<p class="warning">{plain(whose + each)}</p>') for each in said]


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 600:
        return f"{seconds / 60:.1f} min"
    minutes = round(seconds / 60)
    return f"{minutes // 60:,} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"


def _sections(runs: Sequence[Run], curves: dict[str, list[Curve]]) -> Iterator[Section]:
    several = len(runs) > 1
    if several:
        for name, each in curves.items():
            yield Section(f"Comparison on {name}", *comparison_blocks(name, each))
    yield Section("Config", *config_blocks(runs, MAIN))
    yield Section("Training", charts(curve_charts(runs)))
    yield Section("Step time", *step_time_blocks(runs), charts(step_time_charts(runs)))
    staged = [
        _of_run(place, [paragraph(f"Run {run.name}:"), *blocks]) if several else blocks[0]
        for place, run in enumerate(runs)
        if (blocks := stage_blocks(run))
    ]
    settings = [each for each in setting_charts(runs) if not each.is_empty]
    if staged or settings:
        yield Section("Stages", *staged, charts(settings))
    angles = [each for each in angle_charts(runs) if not each.is_empty]
    if angles:
        yield Section("Angles", charts(angles))
    else:
        yield Section("Angles", paragraph("This run has no centres, so there are no angles to them."))
    yield Section("Verification", *_verification(runs, curves))
    yield from _looks(runs)


def _verification(runs: Sequence[Run], curves: dict[str, list[Curve]]) -> Iterator[Html]:
    shown = [each for each in verification_charts(runs) if not each.is_empty]
    if not shown and not curves:
        yield paragraph(_why_unverified(runs))
        return
    yield charts(shown)
    for number, (name, each) in enumerate(curves.items()):
        yield Html(f"<h3>Scores on {plain(name)}</h3>")
        if len(runs) == 1:
            yield figures_table(each)
        yield from why_no_band(each)
        yield charts(score_charts(str(number), each))


def _why_unverified(runs: Sequence[Run]) -> str:
    if not any(key.startswith("verification.sets.") for run in runs for key in run.config):
        return "Verified on nothing: verification.sets names no pairs."
    every = runs[0].config.get("verification.every_steps", "null")
    return f"Not verified yet: verification.every_steps is {every}."


def _looks(runs: Sequence[Run]) -> Iterator[Section]:
    several = len(runs) > 1
    hard = [_hard(place, run, found, several) for place, run in enumerate(runs) for found in run.looks.pairs]
    if hard:
        yield Section("Hardest pairs", *hard)
    sizes = class_size_chart(runs)
    if not sizes.is_empty:
        yield Section("Class frequency", charts([sizes]), *class_size_table(runs))
    images: dict[str, int] = {}
    maps = [
        map_chart(
            f"map-{place}-{number}",
            found,
            title=f"{run.name}, {found.name}" if several else found.name,
            images=images,
            run=place if several else None,
        )
        for place, run in enumerate(runs)
        for number, found in enumerate(run.looks.maps)
    ]
    if maps:
        yield Section("Map of held-out embeddings", charts(maps), image_list(images))
    missing = [*_left_out(runs)]
    if missing:
        yield Section("Left out", *missing)


def _left_out(runs: Sequence[Run]) -> Iterator[Html]:
    """What the page does not show, and why: each reason once, with the runs that it is of."""
    for said in dict.fromkeys(said for run in runs for said in run.looks.left_out):
        whose = [place for place, run in enumerate(runs) if said in run.looks.left_out]
        names = ", ".join(runs[place].name for place in whose)
        told = paragraph(f"{names}: {said}" if len(runs) > 1 else said)
        yield _of_run(whose[0], [told]) if len(whose) == 1 < len(runs) else told


def _hard(place: int, run: Run, found: HardPairs, several: bool) -> Html:
    """The pairs of one run; of several folded, but for the first run's."""
    blocks = hard_pair_blocks(found)
    title = f"{found.name}, step {found.step}"
    if not several:
        return Html(f"<h3>{plain(title)}</h3>{''.join(blocks)}")
    return _of_run(place, [folded(f"{run.name}, {title}", *blocks, shown=place == 0)])
