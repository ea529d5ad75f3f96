"""The picture of error against rejected images: which line is whose."""

from partialfc.plot.reject_picture import line_styles


def test_the_line_of_random_quality_has_the_colour_of_its_run():
    styles = line_styles(["one: norm", "one: random", "two: pfe", "two: random"])
    assert len({style["color"] for style in styles.values()}) == 2
    for run, quality in (("one", "norm"), ("two", "pfe")):
        assert styles[f"{run}: random"] == {"linestyle": ":", "color": styles[f"{run}: {quality}"]["color"]}
        assert "linestyle" not in styles[f"{run}: {quality}"]


def test_a_random_quality_of_no_run_is_grey():
    styles = line_styles(["MagFace's norm", "PFE's sigma", "random"])
    assert styles["random"] == {"linestyle": ":", "color": "0.5"}
    assert styles["MagFace's norm"] != styles["PFE's sigma"]
