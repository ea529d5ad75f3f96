"""The values of one rank's metrics, for prometheus-client to collect."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt
from prometheus_client import Counter, Gauge, Histogram, Info
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from partialfc.metrics.families import COUNTER, FAMILIES, HISTOGRAM, Family

KINDS = {"counter": Counter, "gauge": Gauge, "histogram": Histogram, "info": Info}
Totals = dict[str, dict[str, float]]  # by counter, then by the value of its label; "" without a label
Kind = TypeVar("Kind", Counter, Gauge, Histogram, Info)


class Registry(Collector):
    """The metrics of FAMILIES for one rank of one run.

    Every sample has the labels `run` and `rank`. Counters and histograms are exported from the start, at
    zero, so that Prometheus sees their first event as an increase; a gauge is exported once it is set. A
    scrape may come at any time, from another thread. `Server` serves a registry;
    prometheus_client.REGISTRY.register(registry) adds it to metrics of your own.
    """

    def __init__(self, *, run: str, rank: int) -> None:
        self.labels = {"run": run, "rank": str(rank)}
        self._metrics: dict[str, Counter | Gauge | Histogram | Info] = {}
        self._samples: dict[tuple[str, ...], Counter | Gauge | Histogram | Info] = {}
        self._tallies: dict[str, Tally] = {}
        for family in FAMILIES.values():
            if family.kind in (COUNTER, HISTOGRAM) and not family.tallied:
                metric = self._of(family.name)
                for value in family.values:
                    metric.labels(value)

    def add(self, name: str, amount: float = 1.0, **labels: str) -> None:
        """Add to a counter."""
        self._sample(name, Counter, labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._sample(name, Gauge, labels).set(value)

    def follow(self, name: str, value: Callable[[], float], **labels: str) -> None:
        """Let a gauge call `value` at every scrape, in the scrape's thread."""
        self._sample(name, Gauge, labels).set_function(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        self._sample(name, Histogram, labels).observe(value)

    def tally(self, name: str, values: npt.NDArray[np.floating]) -> None:
        """Add values [n] at once to a histogram that is tallied."""
        if name not in self._tallies:
            self._tallies[name] = Tally(FAMILIES[name])
        self._tallies[name].add(values)

    def collective(self, name: str, size: int, seconds: float) -> None:
        """Count a collective that this rank called; an observer for `Traffic`."""
        self.add("partialfc_collective_calls_total", collective=name)
        self.add("partialfc_collective_bytes_total", size, collective=name)
        self.observe("partialfc_collective_seconds", seconds, collective=name)

    def info(self, name: str, **about: str) -> None:
        """Set the labels of a metric that consists of nothing else."""
        self._sample(name, Info, {}).info(about)

    def totals(self) -> Totals:
        """The values of the counters, for a checkpoint."""
        totals: Totals = {}
        for metric in self._metrics.values():
            if isinstance(metric, Counter):
                for sample in (sample for each in metric.collect() for sample in each.samples):
                    if not sample.name.endswith("_created"):
                        totals.setdefault(sample.name, {})["".join(sample.labels.values())] = sample.value
        return totals

    def restore(self, totals: Mapping[str, Mapping[str, float]]) -> None:
        """Add a checkpoint's values to the counters; those that this version does not have are left out."""
        for name, by_label in totals.items():
            if name in FAMILIES:
                for value, total in by_label.items():
                    labels = dict(zip(FAMILIES[name].labels, [value], strict=False))
                    self.add(name, total, **labels)

    def collect(self) -> Iterator[Metric]:
        """The metrics to export, in the order of FAMILIES."""
        for name in FAMILIES:
            source = self._metrics.get(name) or self._tallies.get(name)
            if source is not None:
                for metric in source.collect():
                    metric.samples = [
                        sample._replace(labels={**self.labels, **sample.labels})
                        for sample in metric.samples
                        if not sample.name.endswith("_created")  # one more series for each, of no use here
                    ]
                    yield metric

    def describe(self) -> Iterator[Metric]:
        """Every metric that it may collect, so that a registry which has it knows their names."""
        for family in FAMILIES.values():
            yield Metric(_registered_name(family), family.help, family.kind)

    def _of(self, name: str) -> Counter | Gauge | Histogram | Info:
        if name not in self._metrics:
            family = FAMILIES[name]
            buckets = {"buckets": family.buckets} if family.kind == HISTOGRAM else {}
            kind = KINDS[family.kind]
            labels = () if family.kind == "info" else family.labels
            self._metrics[name] = kind(
                _registered_name(family), family.help, labels, registry=None, **buckets
            )
        return self._metrics[name]

    def _sample(self, name: str, kind: type[Kind], labels: Mapping[str, str]) -> Kind:
        key = (name, *labels.values())
        if key not in self._samples:
            metric = self._of(name)
            self._samples[key] = metric.labels(**labels) if labels else metric
        sample = self._samples[key]
        assert isinstance(sample, kind), f"{name} is not a {kind.__name__}"
        return sample


class Tally(Collector):
    """A histogram that takes many values at once."""

    def __init__(self, family: Family) -> None:
        self._family = family
        # One attribute for both: a scrape between two statements must not see new counts and an old sum.
        self._counts_and_sum = np.zeros(len(family.buckets) + 1, np.int64), 0.0

    def add(self, values: npt.NDArray[np.floating]) -> None:
        buckets = np.searchsorted(self._family.buckets, values)
        counts, total = self._counts_and_sum
        counts = counts + np.bincount(buckets, minlength=len(counts))
        self._counts_and_sum = counts, total + float(values.sum())

    def collect(self) -> Sequence[Metric]:
        counts, total = self._counts_and_sum
        bounds = [*map(floatToGoString, self._family.buckets), "+Inf"]
        buckets = list(zip(bounds, np.cumsum(counts).tolist(), strict=True))
        family = HistogramMetricFamily(self._family.name, self._family.help)
        family.add_metric([], buckets, total)
        return [family]


def _registered_name(family: Family) -> str:
    """The name without the suffix of counters and infos, which prometheus-client adds itself."""
    return family.name.removesuffix("_total").removesuffix("_info")
