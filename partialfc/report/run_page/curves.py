"""What a run's log says over its steps: loss, rates, speed, norms, and what verification found."""

from collections.abc import Callable, Sequence

import numpy as np

from partialfc.report.run_page.chart import Axis, Chart, Mark, Series
from partialfc.report.run_page.quantiles import Floats
from partialfc.report.run_page.runs import Run
from partialfc.report.run_page.view import scale_of

STEP = Axis("step")
# The columns of the log that are drawn where they say anything: key, title, label of the y axis.
PLAIN = (
    ("lr", "Learning rate", "of the backbone"),
    ("images_per_second", "Speed", "images a second"),
    ("gradient_norm", "Gradient", "norm of the gradient"),
    ("embedding_norm", "Embeddings", "mean norm"),
)
IF_CHANGED = (
    ("loss_scale", "Loss scale", "scale"),
    ("centres", "Centres that take part", "centres, on rank 0"),
    ("nonfinite_steps", "Skipped: not finite", "steps so far"),
    ("overflow_steps", "Skipped: float16 overflowed", "steps so far"),
)
POOL = ("Features in the pool", "features, on rank 0")  # in place of centres
SCALED = ("loss", "lr", "images_per_second", "gradient_norm", "embedding_norm")  # see view.py
FROM_0 = ("loss", "lr", "images_per_second", "gradient_norm")  # where nothing is below
TERM = "loss_"


def curve_charts(runs: Sequence[Run]) -> list[Chart]:
    """The loss, its terms, and the other columns; of several runs over one another."""
    found = [_column_chart(runs, "loss", "Training loss", "mean loss", marks=True)]
    found += [_terms(runs)]
    found += [_column_chart(runs, key, title, label) for key, title, label in PLAIN]
    found += [
        _column_chart(runs, key, *(POOL if key == "centres" and _have_pools(runs) else (title, label)))
        for key, title, label in IF_CHANGED
        if any(_changes(run.log.column(key)) for run in runs)
    ]
    return found


def _have_pools(runs: Sequence[Run]) -> bool:
    """Whether all runs with a head have a pool of features in place of centres."""
    return all(run.config.get("head.name") == "pool" for run in runs if run.has_head)


def by_step(steps: Floats, values: Floats) -> tuple[Floats, Floats]:
    """In the order of the steps."""
    order = np.argsort(steps, kind="stable")
    return steps[order], values[order]


def lines(
    runs: Sequence[Run], values: Callable[[Run], tuple[Floats, Floats]], *, alone: str = ""
) -> list[Series]:
    """The steps and values of each run that has any. alone: what the line is called of one run."""
    several = len(runs) > 1
    found = [
        Series(
            alone if alone and not several else run.name,
            *values(run),
            colour=place,
            run=place if several else None,
        )
        for place, run in enumerate(runs)
    ]
    return [each for each in found if np.isfinite(each.y).any()]


def _column_chart(runs: Sequence[Run], key: str, title: str, label: str, *, marks: bool = False) -> Chart:
    several = len(runs) > 1
    series = lines(
        runs, lambda run: by_step(run.log.column("step"), run.log.column(key)), alone=title.lower()
    )
    log, view = scale_of([each.y for each in series]) if key in SCALED else (False, None)
    least = min((float(np.nanmin(each.y)) for each in series), default=0.0)
    return Chart(
        key.replace("_", "-"),
        title,
        STEP,
        Axis(label, log=log, least=0 if least >= 0 and key in FROM_0 and not log else None, either=True),
        series,
        marks=stage_marks(runs[0]) if marks and not several else (),
        view=view,
    )


def stage_marks(run: Run) -> list[Mark]:
    """Where a stage begins."""
    begun = (each for each in run.log.events["stage"] if each.get("begins") is True)
    return [Mark(each["step"], f"stage {each.get('stage')}") for each in begun][:12]


def _terms(runs: Sequence[Run]) -> Chart:
    """Of a loss that is a sum: each term."""
    several = len(runs) > 1
    names = list(dict.fromkeys(name for run in runs for name in _names(run)))
    series = [
        Series(
            f"{run.name}: {name}" if several else name,
            *by_step(run.log.column("step"), run.log.column(TERM + name)),
            colour=place if several else names.index(name),
            dash=names.index(name) if several else 0,
            run=place if several else None,
            kind=name,
        )
        for place, run in enumerate(runs)
        for name in _names(run)
    ]
    log, view = scale_of([each.y for each in series])
    axis = Axis("mean, unweighted", log=log, either=True)
    return Chart("loss-terms", "Terms of the loss", STEP, axis, series, view=view)


def _names(run: Run) -> list[str]:
    terms = [name.removeprefix(TERM) for name in run.log.columns if name.startswith(TERM)]
    return [name for name in terms if name != "scale"][:8]


def _changes(values: Floats) -> bool:
    finite = values[np.isfinite(values)]
    return bool(len(finite)) and bool((finite != finite[0]).any())


def verification_charts(runs: Sequence[Run]) -> list[Chart]:
    """Accuracy and TARs of each set, as the run's log has them."""
    sets = list(dict.fromkeys(name for run in runs for name in run.sets))
    several = len(runs) > 1
    accuracy = [
        Series(
            " ".join([*([run.name] if several else []), *([name] if len(sets) > 1 or not several else [])]),
            *_verified(run, name, lambda record: record["accuracy"]),
            colour=place if several else number,
            dash=number if several else 0,
            run=place if several else None,
            kind=name,
        )
        for place, run in enumerate(runs)
        for number, name in enumerate(sets)
    ]
    title = f"Accuracy on {sets[0]}" if len(sets) == 1 else "Accuracy"
    found = [Chart("accuracy", title, STEP, Axis("accuracy of pairs", percent=True), accuracy)]
    rates = list(
        dict.fromkeys(
            key
            for run in runs
            for record in run.log.events["verification"]
            for key in record
            if key.startswith("tar@far=")
        )
    )[:4]
    for number, name in enumerate(sets):
        tars = [
            Series(
                f"{run.name} {rate}" if several else rate,
                *_verified(run, name, lambda record, rate=rate: record.get(rate)),
                colour=place if several else index,
                dash=index if several else 0,
                run=place if several else None,
                kind=rate,
            )
            for place, run in enumerate(runs)
            for index, rate in enumerate(rates)
        ]
        tars = [each for each in tars if np.isfinite(each.y).any()]
        shown = {each.kind or each.name for each in tars}
        note = f"At a false accept rate of {shown.pop().partition('=')[2]}." if len(shown) == 1 else ""
        axis = Axis("true accept rate", percent=True)
        found.append(Chart(f"tar-{number}", f"True accepts on {name}", STEP, axis, tars, note=note))
    return found


def _verified(run: Run, name: str, value: Callable[..., float | None]) -> tuple[Floats, Floats]:
    records = run.verifications(name)
    found = [value(each) for each in records]
    numbers = np.array([np.nan if each is None else float(each) for each in found], np.float64)
    steps = np.array([float(each["step"]) for each in records], np.float64)
    return by_step(steps, np.where(np.isfinite(numbers), numbers, np.nan))
