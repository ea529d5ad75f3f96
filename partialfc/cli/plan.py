"""The `partialfc plan` command."""

import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from partialfc.cli.arguments import AsJson, Overrides
from partialfc.errors import ConfigError


def plan(
    config: Annotated[Path | None, typer.Argument(help="YAML file to plan for.", show_default=False)] = None,
    overrides: Overrides = None,
    classes: Annotated[str | None, typer.Option(help="Number of classes: 10_000_000 or 10M.")] = None,
    embedding: Annotated[str | None, typer.Option(help="Size of the embedding.")] = None,
    gpus: Annotated[str | None, typer.Option(help="How many, one rank each; default 1.")] = None,
    memory: Annotated[str | None, typer.Option(help="Of one GPU: 80GB or 80GiB.")] = None,
    batch: Annotated[str | None, typer.Option(help="Samples per GPU and micro-batch.")] = None,
    sample_rate: Annotated[float | None, typer.Option(help="Share of the centres in a step.")] = None,
    weight_dtype: Annotated[str | None, typer.Option(help="Centres: float32, float64, bfloat16.")] = None,
    compute_dtype: Annotated[str | None, typer.Option(help="Products: float32, float64, bfloat16.")] = None,
    momentum_dtype: Annotated[
        str | None, typer.Option(help="float32, float64, bfloat16, int8, none.")
    ] = None,
    gather_dtype: Annotated[str | None, typer.Option(help="Exchange embeddings in bfloat16.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="Of the head: sgd or adamw.")] = None,
    unsampled: Annotated[str | None, typer.Option(help="Centres that sit a step out: dense, frozen.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda or cpu (then --gpus counts processes).")] = None,
    reserve: Annotated[str | None, typer.Option(help="Of the memory, what the backbone needs.")] = None,
    gemm_rate: Annotated[str | None, typer.Option(help="Matrix products a GPU reaches: 400TFLOPS.")] = None,
    memory_bandwidth: Annotated[str | None, typer.Option(help="Of a GPU's memory: 2TB/s.")] = None,
    bandwidth: Annotated[str | None, typer.Option(help="Out of a GPU: 100GB/s, 400Gbit/s.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw memory and time against classes: a PNG.")] = None,
    as_json: AsJson = False,
) -> None:
    """What a head will need per GPU: memory, communication, time at best, and what to change if it won't fit.

    Of a CONFIG under options, or of options alone: --classes, --embedding, --batch, --memory.

    The exit status is 0 whether it fits or not, as that is the answer; --json has it as "fits".
    """
    from partialfc.config import load_config
    from partialfc.config.plan import planned_setting
    from partialfc.plan import Speed, units
    from partialfc.plan import plan as make_plan
    from partialfc.plan.describe import describe, to_dict
    from partialfc.report.figure import check_picture

    problems: list[str] = []
    with _noting(problems):
        check_picture("--plot", plot)
    written: dict[str, tuple[Callable[[str, str], float], str | None]] = {
        "classes": (units.whole_number, classes),
        "embedding": (units.whole_number, embedding),
        "gpus": (units.whole_number, gpus),
        "batch": (units.whole_number, batch),
        "memory": (units.size_in_bytes, memory),
        "reserve": (partial(units.size_in_bytes, least=0), reserve),
        "gemm_rate": (units.flops_per_second, gemm_rate),
        "memory_bandwidth": (units.bytes_per_second, memory_bandwidth),
        "bandwidth": (units.bytes_per_second, bandwidth),
    }
    number: dict[str, Any] = {}
    for name, (parse, text) in written.items():
        number[name] = None if text is None else 1  # what cannot be read hides nothing else that is wrong
        with _noting(problems):
            number[name] = units.maybe(parse, f"--{name.replace('_', '-')}", text)
    if memory is None:
        problems.append("--memory is missing; give that of one GPU, such as --memory 80GB")
    with _noting(problems):
        setting = planned_setting(
            None if config is None else load_config(config, overrides or []),
            **{name: number[name] for name in ("classes", "embedding", "gpus", "batch")},
            sample_rate=sample_rate,
            weight_dtype=weight_dtype,
            compute_dtype=compute_dtype,
            momentum_dtype=momentum_dtype,
            gather_dtype=gather_dtype,
            optimizer=optimizer,
            unsampled=unsampled,
            device=device,
        )
    if problems:
        raise ConfigError("\n".join(problems))
    rates = {name: number[name] for name in ("gemm_rate", "memory_bandwidth", "bandwidth")}
    made = make_plan(
        setting,
        memory=number["memory"],
        reserve=number["reserve"] or 0,
        speed=Speed.of(setting, **rates),
    )
    if plot is not None:
        from partialfc.report.plan_picture import draw_plan

        draw_plan(made, plot)
    print(json.dumps(to_dict(made)) if as_json else describe(made, gpus_given=gpus is not None))
    if plot is not None:
        print(f"\npicture  {plot}", file=sys.stderr if as_json else sys.stdout)


@contextmanager
def _noting(problems: list[str]) -> Iterator[None]:
    """Lets the rest of a command line be checked too, so that all that is wrong with it is said at once."""
    try:
        yield
    except ConfigError as error:
        problems.append(str(error))
