"""The section metrics: where the metrics of a run go."""

from typing import Self

from pydantic import Field, model_validator

from partialfc.config.section import ConfigPath, Section

MOST_PORTS = 64  # ranks of one node, each with a port of its own


class MetricsConfig(Section):
    """Prometheus metrics of every rank.

    Built by training/builders/metrics.py, `build_metrics` and `publishing`.
    """

    port: int | None = Field(
        9850,
        ge=0,
        le=65535 - MOST_PORTS,
        description="Rank r of a node serves http://bind:port+r/metrics; 0: any free port, which is written "
        "to the log and to the targets file; null: nothing is served.",
    )
    bind: str = Field(
        "127.0.0.1",
        min_length=1,
        description="Address to listen on; 0.0.0.0 lets other hosts read the metrics.",
    )
    run: str | None = Field(
        None, min_length=1, description="Value of the label `run`; null: the name of run.dir."
    )
    targets: ConfigPath | None = Field(
        None,
        description="File (.json) that gets the address of every rank, for Prometheus's file_sd_configs.",
    )
    pushgateway: str | None = Field(
        None, min_length=1, description="URL of a Pushgateway that gets the last values when the run ends."
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.targets is not None and self.targets.suffix != ".json":
            raise ValueError(f"targets is {self.targets}, but Prometheus reads only .json files written here")
        if self.targets is not None and self.port is None:
            raise ValueError("targets names a file of addresses, but port is null, so nothing is served")
        if self.pushgateway is not None and not self.pushgateway.startswith(("http://", "https://")):
            raise ValueError(
                f"pushgateway is {self.pushgateway!r}; it must be a URL such as http://host:9091"
            )
        return self
