"""The page of a report in Chromium: each chart draws what the run's files hold, and nothing is asked for."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from partialfc.evaluation.roc_band import roc_band
from tests.browser import CHARTS_FIT, Browser, Page
from tests.report.run_page.cases import PHASES, report, scored, write_run

# By chart: how many places of its last line, which is on top, there are, and have its colour on the canvas.
ON_CANVAS = """Object.fromEntries([...reportCharts].map(([id, { plot }]) => {
  const top = plot.series.findLastIndex((series) => !series.band);
  const probe = document.createElement("canvas").getContext("2d");
  probe.fillStyle = plot.series[top].stroke(plot, top);
  probe.fillRect(0, 0, 1, 1);
  const wanted = probe.getImageData(0, 0, 1, 1).data, { min, max } = plot.scales.x;
  const places = plot.data[0].map((x, at) => [x, plot.data[top][at]])
    .filter(([x, y]) => y !== null && y !== undefined && x >= min && x <= max);
  const seen = places.filter(([x, y]) => {
    const at = [plot.valToPos(x, "x", true), plot.valToPos(y, "y", true)];
    const box = plot.ctx.getImageData(...at.map((place) => Math.max(Math.round(place) - 3, 0)), 7, 7).data;
    for (let i = 0; i < box.length; i += 4)
      if (box[i + 3] > 100 && [0, 1, 2].every((c) => Math.abs(box[i + c] - wanted[c]) < 40)) return true;
    return false;
  });
  return [id, [places.length, seen.length]];
}))"""
# Texts whose contrast to their ground is too low to read, as WCAG measures it.
CONTRASTS = """(() => {
  const parse = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = (c) => [.2126, .7152, .0722].reduce((sum, share, i) => sum + share * linear(c[i] / 255), 0);
  const ground = (e) => {
    const colour = e ? parse(getComputedStyle(e).backgroundColor) : [255, 255, 255];
    return colour.length < 4 || colour[3] > 0 ? colour : ground(e.parentElement);
  };
  const texts = "h1, h2, h3, p, td, th, dt, dd, a, summary, small, figcaption, .keys button";
  return [...document.querySelectorAll(texts)]
    .filter((e) => e.textContent.trim() && e.getBoundingClientRect().width).map((e) => {
      const [a, b] = [parse(getComputedStyle(e).color), ground(e)].map(light).sort((x, y) => y - x);
      return [(a + .05) / (b + .05), e.tagName + ": " + e.textContent.slice(0, 30)]; })
    .filter(([ratio]) => ratio < 4.5);
})()"""


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]]]:
    """The page of one run, and the records of its log."""
    folder = tmp_path_factory.mktemp("runs") / "mine"
    records = write_run(folder)
    report(folder)
    return folder / "report.html", records


@pytest.fixture(scope="module")
def page(browser: Browser, run: tuple[Path, list[dict[str, Any]]]) -> Page:
    return browser.open(run[0].as_uri())


@pytest.fixture(scope="module")
def charts(page: Page) -> dict[str, list[dict[str, Any]]]:
    """What each chart says it drew, by its id without "chart-"."""
    found = page.evaluate(
        "Object.fromEntries([...reportCharts.values()].map(({figure: e}) => [e.id, e.dataset.drawn]))"
    )
    return {name.removeprefix("chart-"): json.loads(text) for name, text in found.items()}


def of(run: tuple[Path, list[dict[str, Any]]], event: str) -> list[dict[str, Any]]:
    return [each for each in run[1] if each["event"] == event]


@pytest.mark.parametrize("key", ["loss", "lr", "images_per_second", "gradient_norm", "embedding_norm"])
def test_a_curve_is_that_of_the_log(run, charts, key):
    (line,) = charts[key.replace("_", "-")]
    values = [each[key] for each in of(run, "train")]
    assert line["points"] == len(values) == 50
    assert line["first"] == [10, pytest.approx(values[0], rel=1e-5)]
    assert line["last"] == [500, pytest.approx(values[-1], rel=1e-5)]
    assert (line["least"], line["greatest"]) == pytest.approx((min(values), max(values)), rel=1e-5)


def test_what_never_changes_has_no_curve(charts):
    assert not {"loss-scale", "centres", "nonfinite-steps", "overflow-steps", "loss-terms"} & set(charts)


def test_step_times_and_stages_are_those_of_the_log(charts, page):
    lines = charts["step-time"]
    assert len(lines) == len(PHASES)
    assert [each["greatest"] for each in lines] == [1, 40, 20, 80, 10]
    words = page.evaluate("document.body.innerText")
    assert "80 ms (50%)" in words
    assert "160 ms" in words
    (setting,) = charts["setting-0"]
    assert (setting["first"], setting["last"]) == ([10, 0.2], [500, 0.4])
    assert "stage 0\t300\tnot over at 500\thead.margin.margin 0.4" in words


def test_angles_and_verification_are_those_of_the_log(run, charts):
    target, negative = charts["angles"]
    assert (target["points"], negative["points"]) == (50, 3)
    assert abs(target["last"][1] - 40) < 4
    assert abs(negative["last"][1] - 70) < 2
    records = of(run, "angles")
    for chart, name in (("angles-target", "target"), ("angles-negative", "nearest_negative")):
        for line, record in zip(charts[chart], (records[0], records[-1]), strict=True):
            counts = np.array(record[f"{name}_histogram"])
            assert line["greatest"] == pytest.approx(counts.max() / counts.sum(), rel=1e-5)
    (accuracy,) = charts["accuracy"]
    assert (accuracy["first"], accuracy["last"]) == ([0, 0.6], [500, pytest.approx(0.85)])
    (tar,) = charts["tar-0"]  # the other rate has too few pairs
    assert (tar["name"], tar["last"]) == ("tar@far=1e-2", [500, pytest.approx(0.75)])


def test_score_charts_are_those_of_the_scores(charts):
    saved = scored()
    band = roc_band(saved["scores"], saved["same"], saved["identities"])
    before, after = charts["roc-0"]
    assert (before["name"], after["name"]) == ("before training", "step 500")
    assert after["points"] == len(band.far)
    assert after["first"] == pytest.approx([band.far[0], band.tar[0]], rel=1e-5)
    assert after["last"] == [1, 1]
    assert charts["det-0"][1]["greatest"] == pytest.approx(1 - band.tar[0], rel=1e-5)
    genuine, impostors = charts["scores-0-0"]
    ends = saved["scores"].min(), saved["scores"].max()
    counts = np.histogram(saved["scores"][~saved["same"]], 60, ends)[0]
    assert impostors["greatest"] == pytest.approx(counts.max() / 200, rel=1e-5)
    assert genuine["points"] == 61


def test_lines_are_on_the_canvas_by_day_at_night_and_on_paper(page, charts):
    for dark, media in ((False, ""), (True, ""), (False, "print")):
        page.theme(dark=dark, media=media)
        if media:
            page.evaluate("dispatchEvent(new Event('beforeprint'))")
        found = page.evaluate(ON_CANVAS)
        assert len(found) == len(charts) >= 14
        for name, (places, seen) in found.items():
            assert seen >= 0.9 * places > 0, (name, dark, media)
        assert page.evaluate(CONTRASTS) == []
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    page.theme()


NEAR_LABELS = """[...reportCharts.values()].filter(({ plot }) => {
    const { _values, _size } = plot.axes[1];
    plot.ctx.font = "12px system-ui, sans-serif";
    return Math.max(..._values.map((each) => plot.ctx.measureText(each).width)) + 12 > _size;
}).map(({ figure }) => figure.id)"""


def test_the_name_of_an_axis_stands_clear_of_its_numbers(page):
    """The accuracy goes from 60 % to 85 %; from 98.39 % to 98.36 % its numbers are wider."""
    assert page.evaluate(NEAR_LABELS) == []
    narrow = "reportCharts.get('chart-accuracy')"
    page.evaluate(f"{narrow}.plot.setScale('y', {{ min: 0.98358, max: 0.98392 }})")
    page.wait_for(f"{narrow}.plot.axes[1]._values.some((each) => each && each.length > 6)")
    assert page.evaluate(NEAR_LABELS) == []
    page.evaluate(f"{narrow}.plot.setData({narrow}.plot.data)")


@pytest.mark.parametrize("width", [360, 420, 1200])
def test_nothing_sticks_out_of_a_window(page, width):
    page.resize(width)
    page.wait_for(CHARTS_FIT)
    assert page.overflowing() == []
    page.resize(1200)


def test_keys_move_along_a_chart_and_names_hide_lines(page, run):
    page.evaluate("document.querySelector('#chart-loss .plot').focus()")
    page.press("End")
    reading = "document.querySelector('#chart-loss .reading').textContent"
    value = page.evaluate("document.querySelector('#chart-loss .card b').textContent")
    assert float(value) == pytest.approx(of(run, "train")[-1]["loss"], rel=1e-3)
    assert page.evaluate(reading) == f"step 500: training loss {value}"
    page.press("ArrowLeft")
    assert page.evaluate(reading).startswith("step 490: ")
    page.press("Escape")
    assert page.evaluate(reading) == ""
    assert page.evaluate("document.querySelectorAll('.card').length") == 0
    page.evaluate("document.querySelector('#chart-angles .keys button').click()")
    assert page.evaluate("reportCharts.get('chart-angles').plot.series[1].show") is False
    page.evaluate("document.querySelector('#chart-angles .keys button').click()")


def test_a_page_asks_for_nothing(page, run):
    assert page.requests == [run[0].as_uri()]
    assert [each for each in page.complaints if "getImageData" not in each] == []  # which the tests call


def test_a_reader_chooses_the_scale(page):
    place = "reportCharts.get('chart-lr').plot.valToPos(0.05, 'y')"
    button = "document.querySelector('#chart-lr .tools button')"
    assert page.evaluate(f"{button}.textContent") == "log"
    linear = page.evaluate(place)
    page.evaluate(f"{button}.click()")
    assert page.evaluate(place) != linear
    page.evaluate(f"{button}.click()")
    assert page.evaluate(place) == linear


def test_hostile_names_are_only_text(browser, tmp_path):
    hostile = "<img src=http://127.0.0.1:9/x onerror=alert(1)></script><script>alert(2)</script>"
    write_run(tmp_path / "mine")
    log = (tmp_path / "mine" / "metrics.jsonl").read_text().replace('"lfw"', json.dumps(hostile))
    (tmp_path / "mine" / "metrics.jsonl").write_text(log)
    (tmp_path / "mine" / "verification" / "lfw.latest.npz").rename(
        tmp_path / "mine" / "verification" / "<b>x<i>.latest.npz"
    )
    report(tmp_path / "mine")
    page = browser.open((tmp_path / "mine" / "report.html").as_uri())
    assert page.requests == [(tmp_path / "mine" / "report.html").as_uri()]
    assert page.complaints == []
    words = page.evaluate("document.body.innerText")
    assert hostile in words
    assert "Scores on <b>x<i>" in words
    assert page.evaluate("document.querySelectorAll('img, main b, main i').length") == 0
