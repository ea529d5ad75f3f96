"""The HTTP server of one rank's metrics: taken ports, other addresses, scrapers that hang."""

import logging
import logging.handlers
import socket

import pytest

from partialfc.metrics import Registry, Server
from partialfc.metrics import server as server_module
from tests.metrics.cases import fetch


def test_two_registries_are_served_on_free_ports():
    with (
        Server(Registry(run="mine", rank=0), port=0) as first,
        Server(Registry(run="mine", rank=1), port=0) as second,
    ):
        assert first.port != second.port
        for rank, each in enumerate((first, second)):
            text = fetch(f"http://127.0.0.1:{each.port}/metrics")
            assert f'partialfc_steps_total{{rank="{rank}",run="mine"}} 0.0' in text
    assert first.port is None


def test_a_taken_port_is_one_warning_that_says_what_to_do(caplog):
    registry = Registry(run="mine", rank=0)
    with Server(registry, port=0) as first, Server(registry, port=first.port or 0) as second:
        assert second.port is None
        (record,) = caplog.records
        assert record.levelno == logging.WARNING
        assert record.getMessage() == (
            f"metrics.port {first.port}: this rank serves no metrics, because it cannot listen on "
            f"127.0.0.1:{first.port} (Address already in use). Training goes on; "
            "choose another metrics.port (0 takes any free one) or metrics.bind"
        )


@pytest.mark.parametrize("bind", ["203.0.113.1", "no such host", "a..b"])
def test_an_address_of_another_machine_is_one_warning(caplog, bind):
    with Server(Registry(run="mine", rank=0), port=0, bind=bind) as refused:
        assert refused.port is None
    (record,) = caplog.records
    assert bind in record.getMessage()
    assert "metrics.bind" in record.getMessage()


def test_an_ipv6_address_is_served():
    with Server(Registry(run="mine", rank=0), port=0, bind="::1") as served:
        if served.port is None:
            pytest.skip("no IPv6 on this machine")
        assert "partialfc_steps_total" in fetch(f"http://[::1]:{served.port}/metrics")


def test_a_scraper_that_hangs_holds_nobody_up_and_is_dropped(monkeypatch):
    monkeypatch.setattr(server_module._Handler, "timeout", 1.0)
    with Server(Registry(run="mine", rank=0), port=0) as served:
        hanging = [socket.create_connection(("127.0.0.1", served.port or 0)) for _ in range(20)]
        for connection in hanging:
            connection.sendall(b"GET /metr")
        assert "partialfc_steps_total" in fetch(f"http://127.0.0.1:{served.port}/metrics")
        for connection in hanging:
            connection.settimeout(30)
            assert connection.recv(1) == b""  # the server has closed it
            connection.close()


def test_a_scraper_that_hangs_up_leaves_no_traceback(capfd):
    with Server(Registry(run="mine", rank=0), port=0) as served:
        for _ in range(5):
            connection = socket.create_connection(("127.0.0.1", served.port or 0))
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # end by a reset
            connection.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            connection.close()
        assert "partialfc_steps_total" in fetch(f"http://127.0.0.1:{served.port}/metrics")
    assert capfd.readouterr().err == ""
