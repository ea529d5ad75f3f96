"""The section of the config that says where a run's metrics go."""

from typing import Self

from pydantic import Field, model_validator

from partialfc.config.section import ConfigPath, Section

MOST_PORTS = 64  # ranks on one node that a range of ports must hold


class MetricsConfig(Section):
    """Prometheus metrics of every rank."""

    port: int | None = Field(
        9850,
        ge=0,
        le=65535 - MOST_PORTS,
        description="Rank r of a node serves http://bind:port+r/metrics; 0: any free port, which the log "
        "and the targets file name; null: nothing is served.",
    )
    bind: str = Field(
        "127.0.0.1", min_length=1, description="Address to listen on; 0.0.0.0 for scrapes from other hosts."
    )
    run: str | None = Field(
        None, min_length=1, description="Value of the label `run`; null: the name of run.dir."
    )
    targets: ConfigPath | None = Field(
        None,
        description="File to write every rank's address into, for Prometheus's file_sd_configs (.json).",
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
