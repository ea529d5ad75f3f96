"""The `partialfc plan` command."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from partialfc.errors import ConfigError


def plan(
    config: Annotated[Path | None, typer.Argument(help="YAML file to plan for.", show_default=False)] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="section.key=value, any number.", show_default=False)
    ] = None,
    classes: Annotated[str | None, typer.Option(help="Number of classes: 10_000_000 or 10M.")] = None,
    embedding: Annotated[str | None, typer.Option(help="Size of the embedding.")] = None,
    gpus: Annotated[str | None, typer.Option(help="Number of GPUs, one rank each; default 1.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory of one GPU: 80GB, 80GiB.")] = None,
    batch: Annotated[str | None, typer.Option(help="Samples per GPU and micro-batch.")] = None,
    sample_rate: Annotated[float | None, typer.Option(help="Share of the centres in a step.")] = None,
    weight_dtype: Annotated[str | None, typer.Option(help="Centres: float32, bfloat16.")] = None,
    compute_dtype: Annotated[str | None, typer.Option(help="Matrix products: float32, bfloat16.")] = None,
    momentum_dtype: Annotated[str | None, typer.Option(help="float32, bfloat16, int8 or none.")] = None,
    gather_dtype: Annotated[str | None, typer.Option(help="Gathered embeddings: float32, bfloat16.")] = None,
    optimizer: Annotated[str | None, typer.Option(help="Of the head: sgd or adamw.")] = None,
    unsampled: Annotated[str | None, typer.Option(help="Centres that sit a step out: dense, frozen.")] = None,
    device: Annotated[str | None, typer.Option(help="cuda or cpu (then --gpus counts processes).")] = None,
    reserve: Annotated[str | None, typer.Option(help="Of the memory, what the backbone needs.")] = None,
    gemm_rate: Annotated[str | None, typer.Option(help="Matrix products a GPU reaches: 400TFLOPS.")] = None,
    memory_bandwidth: Annotated[str | None, typer.Option(help="Of a GPU's memory: 2TB/s.")] = None,
    bandwidth: Annotated[str | None, typer.Option(help="Out of a GPU: 100GB/s, 400Gbit/s.")] = None,
    plot: Annotated[Path | None, typer.Option(help="Draw memory and time against classes: a PNG.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """What a head will need per GPU: memory, communication, time at best, and what to change if it won't fit.

    Of a CONFIG under options, or of options alone: --classes, --embedding, --batch, --memory.
    """
    from partialfc.config import load_config
    from partialfc.config_plan import planned_setting
    from partialfc.plan import Speed, units
    from partialfc.plan import plan as make_plan
    from partialfc.plan.report import describe, to_dict

    if plot is not None and (plot.suffix != ".png" or not plot.parent.is_dir()):
        raise ConfigError(f"--plot is {plot}; it must be a .png file in a folder that exists")
    if memory is None:
        raise ConfigError("--memory is missing; give that of one GPU, such as --memory 80GB")
    setting = planned_setting(
        None if config is None else load_config(config, overrides or []),
        classes=units.maybe(units.whole_number, "--classes", classes),
        embedding=units.maybe(units.whole_number, "--embedding", embedding),
        gpus=units.maybe(units.whole_number, "--gpus", gpus),
        batch=units.maybe(units.whole_number, "--batch", batch),
        sample_rate=sample_rate,
        weight_dtype=weight_dtype,
        compute_dtype=compute_dtype,
        momentum_dtype=momentum_dtype,
        gather_dtype=gather_dtype,
        optimizer=optimizer,
        unsampled=unsampled,
        device=device,
    )
    made = make_plan(
        setting,
        memory=units.size_in_bytes("--memory", memory),
        reserve=0 if reserve is None else units.size_in_bytes("--reserve", reserve),
        speed=Speed.of(
            setting,
            gemm_rate=units.maybe(units.flops_per_second, "--gemm-rate", gemm_rate),
            memory_bandwidth=units.maybe(units.bytes_per_second, "--memory-bandwidth", memory_bandwidth),
            bandwidth=units.maybe(units.bytes_per_second, "--bandwidth", bandwidth),
        ),
    )
    print(json.dumps(to_dict(made)) if as_json else describe(made))
    if plot is not None:
        from partialfc.plan.picture import draw_plan

        print(f"\npicture  {draw_plan(made, plot)}", file=sys.stderr if as_json else sys.stdout)
