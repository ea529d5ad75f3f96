"""The page of several runs in Chromium: one legend for all charts, in which runs are picked."""

import json

import pytest

from tests.browser import CHARTS_FIT, Browser, Page
from tests.report.run_page.cases import report, write_log, write_run

# Of each line of a chart whether it is drawn as one that is meant, and whether its band is.
MEANT = """(({ plot }) => plot.series.slice(1).filter((each) => !each.band).map((each) => {
  const band = plot.bands.find(({ series }) => series[1] === plot.series.indexOf(each) + 1);
  return [each.alpha === 1, band !== undefined && band.fill() !== "transparent"];
}))(reportCharts.get(ID))"""
# The runs of which the page shows anything that is about them alone.
SHOWN = """[...document.querySelectorAll("main [data-run]")].filter((each) => each.offsetParent)
  .map((each) => each.dataset.run)"""
POINT = """document.querySelector("[data-pick='2']")
  .dispatchEvent(new PointerEvent("%s", { pointerType: "mouse" }))"""
ALL_VALUES = """[...document.querySelectorAll("#chart-loss .tools button")]
  .find((each) => each.textContent === "all values").click()"""
CUT = """[...document.querySelectorAll("figure")]
  .filter((each) => getComputedStyle(each).breakInside !== "avoid").length"""


@pytest.fixture(scope="module")
def four(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Page:
    """The page of four runs; the loss of the last lies far below those of the others, and has terms."""
    folder = tmp_path_factory.mktemp("four")
    for place in range(4):
        records = write_run(folder / f"run{place}", seed=place, shift=0.5 + 0.1 * place)
    for record in records:
        if "loss" in record:
            record |= {"loss_head": record["loss"], "loss_other": 1.0, "loss": record["loss"] - 150}
    write_log(folder / "run3", records)
    report(*(folder / f"run{place}" for place in range(4)), "--output", folder / "four.html")
    return browser.open((folder / "four.html").as_uri())


def meant(page: Page, chart: str) -> list[list[bool]]:
    return page.evaluate(MEANT.replace("ID", json.dumps(f"chart-{chart}")))


def pick(page: Page, run: int | str) -> None:
    page.evaluate(f"document.querySelector('[data-pick=\"{run}\"]').click()")


def tap(page: Page, selector: str) -> None:
    """A finger on the middle of an element."""
    found = f"document.querySelector({json.dumps(selector)})"
    page.evaluate(f"{found}.scrollIntoView({{ block: 'center' }})")
    middle = "(({ x, y, width, height }) => [x + width / 2, y + height / 2])"
    box = page.evaluate(f"{middle}({found}.getBoundingClientRect())")
    page.send("Input.dispatchTouchEvent", type="touchStart", touchPoints=[dict(zip("xy", box, strict=True))])
    page.send("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])


def test_what_is_said_of_four_runs_is_so_of_each(four):
    words = four.evaluate("document.body.textContent")
    assert "The band, while at most 3 runs are shown, is the 95 % interval" in words
    assert words.count("2 checkpoints took 1 s\nthe longest 0.5 s") == 4


def test_a_run_that_is_picked_stands_alone_with_its_band(four):
    assert meant(four, "roc-0") == [[True, False]] * 4  # of four runs no band is told from another
    pick(four, 1)
    assert meant(four, "roc-0") == [[False, False], [True, True], [False, False], [False, False]]
    angles = [each[0] for each in meant(four, "angles")]
    assert [at for at, lit in enumerate(angles) if lit] == [2, 3]
    assert set(four.evaluate(SHOWN)) == {"1"}
    assert four.evaluate("document.querySelector('#chart-loss-terms').hidden")  # which the last run alone has
    pick(four, 2)
    assert [each[0] for each in meant(four, "det-0")] == [False, True, True, False]
    assert four.evaluate("document.querySelectorAll('.runs [aria-pressed=true]').length") == 2
    pick(four, 1)
    assert [each[0] for each in meant(four, "det-0")] == [False, False, True, False]
    pick(four, "all")
    assert meant(four, "roc-0") == [[True, False]] * 4
    assert set(four.evaluate(SHOWN)) == {"0", "1", "2", "3"}
    assert four.evaluate("document.querySelector('#chart-loss-terms').offsetParent !== null")


def test_the_keyboard_picks_runs_too(four):
    four.evaluate("document.querySelector('[data-pick=\"0\"]').focus()")
    four.press("Tab")
    four.press("Enter")
    assert [each[0] for each in meant(four, "loss")] == [False, True, False, False]
    pick(four, "all")


def test_a_finger_reads_values_and_picks_runs(four):
    four.resize(360)
    four.wait_for(CHARTS_FIT)
    four.send("Emulation.setTouchEmulationEnabled", enabled=True, maxTouchPoints=1)
    tap(four, "#chart-loss .u-over")
    four.wait_for("document.querySelectorAll('#chart-loss .card b').length === 4")
    assert [each[0] for each in meant(four, "loss")] == [True] * 4
    tap(four, "[data-pick='1']")
    four.wait_for("document.querySelector(\"[data-pick='1']\").ariaPressed === 'true'")
    assert [each[0] for each in meant(four, "loss")] == [False, True, False, False]
    four.send("Emulation.setTouchEmulationEnabled", enabled=False)
    pick(four, "all")
    four.resize(1200)


def test_to_point_at_a_name_shows_its_run_for_a_moment(four):
    four.evaluate(POINT % "pointerenter")
    assert meant(four, "roc-0")[2] == [True, True]
    assert not any(meant(four, "roc-0")[0])
    four.evaluate(POINT % "pointerleave")
    assert meant(four, "roc-0") == [[True, False]] * 4


def test_a_run_far_from_the_others_does_not_flatten_them(four):
    ends = "(({ min, max }) => [min, max])(reportCharts.get('chart-loss').plot.scales.y)"
    least, most = four.evaluate(ends)
    assert -1 < least <= 2 < 9 < most < 15
    assert "Outside the axis: run3 (-1" in four.evaluate("document.querySelector('#chart-loss').innerText")
    four.evaluate(ALL_VALUES)
    assert four.evaluate(ends)[0] < -140
    four.evaluate(ALL_VALUES)
    pick(four, 3)
    least, most = four.evaluate(ends)
    assert least < most < -100
    pick(four, "all")


def test_paper_has_the_names_of_the_runs_and_no_controls(four):
    four.theme(dark=True, media="print")
    four.evaluate("dispatchEvent(new Event('beforeprint'))")
    seen = "[...document.querySelectorAll('%s')].filter((each) => each.offsetParent).length"
    assert four.evaluate("document.querySelector('#chart-roc-0 .keys').innerText.split(/\\s+/)") == [
        "run0", "run1", "run2", "run3",
    ]  # fmt: skip
    assert four.evaluate(seen % "nav, .runs, .tools, .hint, .card, .chart details") == 0
    assert four.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert four.evaluate(CUT) == 0
    four.evaluate("dispatchEvent(new Event('afterprint'))")
    four.theme()


def test_several_runs_are_drawn_over_one_another(browser, tmp_path):
    for place, name in enumerate(("first", "second")):
        write_run(tmp_path / name, seed=place, steps=500 - 100 * place, shift=0.5 + 0.2 * place)
    report(tmp_path / "first", tmp_path / "second")
    page = browser.open((tmp_path / "report.html").as_uri())
    first, second = json.loads(page.evaluate("document.querySelector('#chart-loss').dataset.drawn"))
    assert (first["name"], first["last"][0]) == ("first", 500)
    assert (second["name"], second["last"][0], second["points"]) == ("second", 400, 40)
    words = page.evaluate("document.body.innerText")
    assert "Differences from first" in words
    assert "better" in words
    assert "3 keys differ" in words
    page.resize(360)
    page.wait_for(CHARTS_FIT)
    assert page.overflowing() == []
