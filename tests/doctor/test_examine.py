"""The whole examination on one rank, as a report, an exit status and lines on a terminal."""

import json
import os
import pty

from typer.testing import CliRunner, Result

import partialfc
from partialfc.cli.app import app
from partialfc.doctor import Level, describe
from tests import train_cases
from tests.doctor.cases import examined, found
from tests.processes import start
from tests.train_cases import saved_config


def invoke(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)])


def test_a_sound_job_is_green_and_measured(folder):
    report = examined(train_cases.small_config(folder))
    assert report.level != Level.RED, describe(report, colour=False)
    names = [each.check.name for each in report.findings]
    assert {"step", "loading", "disk writing", "memory", "labels"} <= set(names)
    assert names.index("loading") < names.index("records"), "decoding would take cores from what is timed"
    assert "of 20 classes" in found(report, "data").says
    assert not list((folder / "run").glob("*")), "the doctor leaves nothing behind"


def test_without_a_config_only_the_machine_is_examined():
    report = examined(None, quick=True)
    names = {each.check.name for each in report.findings}
    assert {"versions", "device", "open files"} <= names
    assert not {"data", "memory", "disk space"} & names


def test_the_exit_status_and_json_say_it(folder):
    config = saved_config(folder)
    fine = invoke(config, "--quick", "--json")
    assert fine.exit_code == 0, fine.output
    assert json.loads(fine.stdout)["level"] != "red"
    bad = invoke(config, "data.num_classes=10", "--quick", "--json")
    assert bad.exit_code == 1
    report = json.loads(bad.stdout)
    assert report["level"] == "red"
    (check,) = [each for each in report["checks"] if each["name"] == "num_classes"]
    assert check["level"] == "red"
    assert check["ranks"] == [0]
    assert "20" in check["remedy"]


def test_a_terminal_gets_colours_and_a_file_none(folder):
    config = saved_config(folder, "data.num_classes=10")
    assert "\033[" not in invoke(config, "--quick").stdout
    ours, theirs = pty.openpty()
    process = start("doctor", config, "--quick", stdout=theirs)
    os.close(theirs)
    process.wait()
    shown = os.read(ours, 1 << 16)
    os.close(ours)
    assert process.returncode == 1
    assert b"\033[32mgreen" in shown
    assert b"\033[31mred" in shown


def test_version():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"partialfc {partialfc.__version__}\n"
