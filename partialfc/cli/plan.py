"""The `partialfc plan` command."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from partialfc.cli.arguments import AsJson, Overrides
from partialfc.errors import ConfigError
from partialfc.files import json_text


def plan(
    config: Annotated[Path | None, typer.Argument(help="YAML file to plan for.", show_default=False)] = None,
    overrides: Overrides = None,
    classes: Annotated[str | None, typer.Option(help="Number of classes: 10_000_000 or 10M.")] = None,
    embedding: Annotated[str | None, typer.Option(help="Size D of the embedding.")] = None,
    gpus: Annotated[
        str | None, typer.Option(help="Number of GPUs, with one rank on each; default 1.")
    ] = None,
    gpus_per_node: Annotated[str | None, typer.Option(help="How many of them a node has; default 8.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory of one GPU: 80GB or 80GiB.")] = None,
    batch: Annotated[str | None, typer.Option(help="Samples per GPU and micro-batch.")] = None,
    accumulation: Annotated[int | None, typer.Option(help="Micro-batches of a step; default 1.")] = None,
    sample_rate: Annotated[
        float | None, typer.Option(help="Fraction of the centres that take part in a step.")
    ] = None,
    sub_centers: Annotated[int | None, typer.Option(help="Centres of each class; default 1.")] = None,
    weight_dtype: Annotated[
        str | None, typer.Option(help="Type of the centres: float32, float64, bfloat16.")
    ] = None,
    compute_dtype: Annotated[
        str | None, typer.Option(help="Type of matrix products: float32, float64, bfloat16.")
    ] = None,
    momentum_dtype: Annotated[
        str | None, typer.Option(help="Type of sgd's momentum: float32, float64, bfloat16, int8, none.")
    ] = None,
    gather_dtype: Annotated[
        str | None, typer.Option(help="Type in which embeddings are exchanged: bfloat16, float16.")
    ] = None,
    optimizer: Annotated[str | None, typer.Option(help="Optimizer of the centres: sgd or adamw.")] = None,
    unsampled: Annotated[
        str | None,
        typer.Option(
            help="Centres that are not sampled in a step: dense (moved by momentum and weight "
            "decay) or frozen."
        ),
    ] = None,
    device: Annotated[
        str | None, typer.Option(help="cuda or cpu; with cpu, --gpus is the number of processes.")
    ] = None,
    reserve: Annotated[
        str | None, typer.Option(help="Part of the memory that the backbone needs: 20GB.")
    ] = None,
    gemm_rate: Annotated[
        str | None, typer.Option(help="Speed of a GPU's matrix products: 400TFLOPS.")
    ] = None,
    memory_bandwidth: Annotated[str | None, typer.Option(help="Bandwidth of a GPU's memory: 2TB/s.")] = None,
    bandwidth: Annotated[
        str | None, typer.Option(help="Bandwidth from a GPU to the others: 100GB/s, 400Gbit/s.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(help="PNG file to write: memory and time against the number of classes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what a head needs on each GPU (memory, communication, time), and what to change if it does not fit.

    Of a class pool (head.name: pool) memory and communication.

    Give --memory, and a CONFIG or --classes, --embedding, --batch. An option replaces what CONFIG says.

    The exit status is 0 whether the head fits or not; --json says it as "fits".
    """
    from partialfc.config.plan import plan_from_options
    from partialfc.plan import PoolPlan, describe_pool
    from partialfc.plan import describe as describe_head
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
            "gpus_per_node": gpus_per_node,
            "batch": batch,
            "memory": memory,
            "reserve": reserve,
            "gemm_rate": gemm_rate,
            "memory_bandwidth": memory_bandwidth,
            "bandwidth": bandwidth,
        },
        choices={
            "accumulation": accumulation,
            "sample_rate": sample_rate,
            "sub_centers": sub_centers,
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
    if isinstance(made, PoolPlan):
        if plot is not None:
            raise ConfigError("--plot draws a head against its classes, and head.name is pool: leave it out")
        values, text = describe_pool.to_dict(made), describe_pool.describe(made, gpus_given=gpus is not None)
    else:
        if plot is not None:
            from partialfc.report.plan_picture import draw_plan

            draw_plan(made, plot)
        values, text = describe_head.to_dict(made), describe_head.describe(made, gpus_given=gpus is not None)
    print(json_text(values) if as_json else text)
    if plot is not None:
        print(f"\npicture  {plot}", file=sys.stderr if as_json else sys.stdout)
