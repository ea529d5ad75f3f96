"""The `partialfc plan` command."""

import json
import sys
from pathlib import Path
from typing import Annotated

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
    from partialfc.config.plan import plan_from_options
    from partialfc.plan.describe import describe, to_dict
    from partialfc.report.figure import check_picture

    problems = []
    try:
        check_picture("--plot", plot)
    except ConfigError as error:
        problems.append(str(error))  # said together with whatever else is wrong
    made = plan_from_options(
        config,
        overrides or [],
        quantities={
            "classes": classes,
            "embedding": embedding,
            "gpus": gpus,
            "batch": batch,
            "memory": memory,
            "reserve": reserve,
            "gemm_rate": gemm_rate,
            "memory_bandwidth": memory_bandwidth,
            "bandwidth": bandwidth,
        },
        choices={
            "sample_rate": sample_rate,
            "weight_dtype": weight_dtype,
            "compute_dtype": compute_dtype,
            "momentum_dtype": momentum_dtype,
            "gather_dtype": gather_dtype,
            "optimizer": optimizer,
            "unsampled": unsampled,
            "device": device,
        },
        problems=problems,
    )
    if plot is not None:
        from partialfc.report.plan_picture import draw_plan

        draw_plan(made, plot)
    print(json.dumps(to_dict(made)) if as_json else describe(made, gpus_given=gpus is not None))
    if plot is not None:
        print(f"\npicture  {plot}", file=sys.stderr if as_json else sys.stdout)
