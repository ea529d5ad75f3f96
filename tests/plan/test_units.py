"""Quantities as people write them."""

import pytest

from partialfc.errors import ConfigError
from partialfc.plan import units


@pytest.mark.parametrize(
    ("text", "size"),
    [("80GB", 80 * 10**9), ("80GiB", 80 * 2**30), ("24_000_000_000B", 24 * 10**9), ("1.5 TB", 15 * 10**11),
     ("16g", 16 * 10**9), ("512 MiB", 2**29), ("7B", 7), ("1,500 GB", 15 * 10**11),
     ("9_007_199_254_740_993B", 2**53 + 1)],
)  # fmt: skip
def test_sizes_as_people_write_them(text, size):
    assert units.size_in_bytes("--memory", text) == size


@pytest.mark.parametrize(
    "text", ["", "GB", "-1GB", "80 GBB", "80GB/s", "80i", "nan", "0", "1e999GB", "1,5GB"]
)
def test_a_size_that_is_none_is_named_with_its_rule(text):
    with pytest.raises(
        ConfigError, match=r"--memory is '.*'; it must be a size of at least 1 B, such as 80GB"
    ):
        units.size_in_bytes("--memory", text)


def test_nothing_is_a_size_where_it_may_be():
    assert (
        units.size_in_bytes("--reserve", "0", least=0)
        == units.size_in_bytes("--reserve", "0GB", least=0)
        == 0
    )


@pytest.mark.parametrize(
    ("parse", "text", "proposed"),
    [
        (units.size_in_bytes, "80", "80GB or 80GiB"),
        (units.size_in_bytes, "1.5", "1.5GB or 1.5GiB"),
        (units.size_in_bytes, "80_000_000_000", "80_000_000_000B"),
        (units.bytes_per_second, "100", "100GB/s or 100Gbit/s"),
        (units.bytes_per_second, "100/s", "100GB/s or 100Gbit/s"),
        (units.bytes_per_second, "1e11", "1e11B/s"),
        (units.flops_per_second, "400", "400GFLOPS or 400TFLOPS"),
        (units.flops_per_second, "4e14", "4e14FLOPS"),
    ],
)
def test_a_number_without_a_unit_is_asked_for_one(parse, text, proposed):
    with pytest.raises(
        ConfigError, match=rf"is '{text}': .* what\? It must have a unit, such as {proposed}$"
    ):
        parse("--option", text)
    for each in proposed.split(" or "):
        assert parse("--option", each) > 0


def test_rates_and_counts():
    assert units.bytes_per_second("--bandwidth", "400Gbit/s") == 50e9
    assert units.bytes_per_second("--bandwidth", "3.35TB/s") == 3.35e12
    assert units.flops_per_second("--gemm-rate", "400TFLOPS") == 400e12
    assert units.flops_per_second("--gemm-rate", "0.4 PFLOP/s") == 400e12
    assert units.whole_number("--classes", "10_000_000") == units.whole_number("--classes", "10M") == 10**7
    assert units.whole_number("--classes", "12,487,647") == 12_487_647  # as the plan itself prints it
    for wrong in ("2.5", "0", "-3", "ten", "1e3x", "", "12,34", "1e13", "9" * 5000):
        with pytest.raises(ConfigError, match=r"--classes is .* a whole number from 1 to 1,000,000,000,000"):
            units.whole_number("--classes", wrong)
    with pytest.raises(ConfigError, match="--bandwidth is '100Gb/s'"):  # bits or bytes?
        units.bytes_per_second("--bandwidth", "100Gb/s")
