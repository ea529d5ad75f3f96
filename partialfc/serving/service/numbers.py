"""The metrics of a service, for Prometheus."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
IMAGES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
OTHER = "other"  # the route of a request that has none


class Numbers:
    """The metrics, in a registry of their own. docs/reference/metrics.md says what each one is."""

    def __init__(self, *, version: str, model: str) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "partialfc_serve_requests",
            "Requests that were answered, by route and status.",
            ("route", "status"),
            registry=self.registry,
        )
        self.request_seconds = Histogram(
            "partialfc_serve_request_seconds",
            "Time from a request's head to the end of its answer.",
            ("route",),
            buckets=SECONDS,
            registry=self.registry,
        )
        self.in_flight = Gauge(
            "partialfc_serve_requests_in_flight", "Requests that are being answered.", registry=self.registry
        )
        self.images = Counter("partialfc_serve_images", "Images embedded.", registry=self.registry)
        self.batch_images = Histogram(
            "partialfc_serve_batch_images",
            "Images in a call of the model.",
            buckets=IMAGES,
            registry=self.registry,
        )
        self.max_batch = Gauge(
            "partialfc_serve_max_batch_images",
            "Images in a call of the model at most: --max-batch, or what was measured at the start.",
            registry=self.registry,
        )
        self.model_seconds = Histogram(
            "partialfc_serve_model_seconds",
            "Time of a call of the model.",
            buckets=SECONDS,
            registry=self.registry,
        )
        self.queue = Gauge(
            "partialfc_serve_queue_images",
            "Images that are being decoded, wait for the model or are in it.",
            registry=self.registry,
        )
        self.ready = Gauge(
            "partialfc_serve_ready",
            "1 while images are embedded, as /readyz says; else 0.",
            registry=self.registry,
        )
        self.held = Gauge("partialfc_serve_held_bytes", "Bytes of bodies in memory.", registry=self.registry)
        self.gallery = Gauge(
            "partialfc_serve_gallery_embeddings", "Embeddings in the gallery.", registry=self.registry
        )
        self.changes = Counter(
            "partialfc_serve_gallery_changes",
            "Embeddings that were added to the gallery or removed, by kind.",
            ("kind",),
            registry=self.registry,
        )
        self.build = Info("partialfc_serve_build", "Version and model.", registry=self.registry)
        self.build.info({"version": version, "model": model})

    def follow(
        self, *, ready: Callable[[], float], queue: Callable[[], float], held: Callable[[], float]
    ) -> None:
        """Let the gauges ask at every scrape."""
        self.ready.set_function(ready)
        self.queue.set_function(queue)
        self.held.set_function(held)

    def called(self, images: int, seconds: float) -> None:
        """Count a call of the model."""
        self.images.inc(images)
        self.batch_images.observe(images)
        self.model_seconds.observe(seconds)
