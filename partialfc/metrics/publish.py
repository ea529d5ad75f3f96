"""How Prometheus gets a run's metrics: served while it runs, listed in a file, pushed when it ends."""

import json
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPException
from ipaddress import ip_address
from pathlib import Path

from prometheus_client import CollectorRegistry, push_to_gateway

from partialfc.distributed.torchrun import has_other_nodes, local_rank
from partialfc.distributed.world import World
from partialfc.files import write_whole
from partialfc.metrics.registry import Registry
from partialfc.metrics.server import Server

log = logging.getLogger(__name__)

JOB = "partialfc"
PUSH_SECONDS = 10.0
NOWHERE = ("192.0.2.1", 9)  # for documentation (RFC 5737): its route is looked up, nothing is sent


@contextmanager
def published(
    registry: Registry,
    world: World,
    *,
    port: int | None,
    bind: str,
    targets: Path | None,
    pushgateway: str | None,
) -> Iterator[None]:
    """Serve this rank's metrics until the end of the block; collective where there is a targets file.

    port: rank r of a node takes port + r; 0: any free one; None: nothing is served.
    targets: a file for Prometheus's file_sd_configs. It lists every rank's address while the block runs, and
        none after it, so that a run that has ended is not taken for a target that is down.
    pushgateway: the URL of a Pushgateway, which gets the last values at the end.
    A network failure raises nothing; it is logged as one warning.
    """
    address = ""
    with ExitStack() as at_end:
        if port is not None:
            own = port + local_rank() if port else 0
            server = at_end.enter_context(Server(registry, port=own, bind=bind))
            if server.port is not None:
                log.info("metrics on http://%s/metrics", _join(bind, server.port))
                address = _join(reachable(bind), server.port)
        if targets is not None:
            if world.rank == 0 and has_other_nodes() and _is_loopback(bind):
                log.warning(
                    "metrics.bind is %s, which no other host reaches, but this run has several hosts, whose "
                    "addresses metrics.targets is to list: set metrics.bind to 0.0.0.0",
                    bind,
                )
            _write_targets(targets, [each for each in world.gather_texts(address) if each], world)
            at_end.callback(_clear_targets, targets, world)
        if pushgateway is not None:
            at_end.callback(push, registry, pushgateway)
        yield


def push(registry: Registry, pushgateway: str) -> None:
    """Replace what the Pushgateway has of this run and rank; a failure is logged as one warning."""
    collector = CollectorRegistry()
    collector.register(registry)
    try:
        push_to_gateway(pushgateway, JOB, collector, grouping_key=registry.labels, timeout=PUSH_SECONDS)
    except (OSError, ValueError, HTTPException) as error:
        log.warning(
            "metrics.pushgateway is %s, which did not take the metrics (%s); the run itself is not affected",
            *(pushgateway, error),
        )


def reachable(bind: str) -> str:
    """The address at which other hosts reach what listens on `bind`; one of them where it is all."""
    if bind not in ("0.0.0.0", "::", ""):
        return bind
    peers = [(os.environ["MASTER_ADDR"], 9)] if "MASTER_ADDR" in os.environ else []
    for peer in (*peers, NOWHERE):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(peer)  # of UDP: sends nothing, it only chooses the route
                own = str(probe.getsockname()[0])
        except OSError:
            continue
        if not own.startswith("127."):
            return own
    return socket.gethostname()


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:  # a name
        return host == "localhost"


def _write_targets(path: Path, addresses: list[str], world: World) -> None:
    if world.rank != 0:
        return
    groups = [{"targets": addresses, "labels": {"job": JOB}}] if addresses else []
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(groups, indent=1) + "\n")
    except OSError as error:
        log.warning(
            "metrics.targets is %s, which cannot be written (%s); training goes on", path, error.strerror
        )


def _clear_targets(path: Path, world: World) -> None:
    if path.exists():  # else its folder is gone, which is not made anew
        _write_targets(path, [], world)


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
