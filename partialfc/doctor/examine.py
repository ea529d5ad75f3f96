"""The whole examination: each rank alone, then all together, and one report of it on rank 0."""

import json
import logging
from collections.abc import Callable, Sequence

import torch

from partialfc.config import Config
from partialfc.config.plan import planned_device, planned_setting
from partialfc.config.plan_pool import planned_pool
from partialfc.distributed.ranks import named_ranks
from partialfc.doctor.check import Check, Level, Report, failed, gathered, green, red
from partialfc.doctor.host_clocks import judge_clocks, measure_clocks
from partialfc.doctor.link import Link, measure_link
from partialfc.doctor.meeting import Meeting
from partialfc.doctor.network import Step, judge_communication, judge_link, socket_names
from partialfc.doctor.rank import Found, examine_rank
from partialfc.doctor.software import judge_versions
from partialfc.errors import DistributedError
from partialfc.plan import PoolSetting, Setting

log = logging.getLogger(__name__)

LONGEST = 180.0  # seconds that a rank's own checks take at most, on a slow machine
GO, STAY = "together", "alone"


def examine(config: Config | None, *, quick: bool, timeout: float, show: Callable[[Report], None]) -> Level:
    """Examine the machine, and the job that a config describes; returns the report's level, on every rank.

    Under torchrun it is collective; the report names a rank that does not answer within `timeout` seconds.
    quick: compile and time nothing; data is read all the same. show: is called with the report, on rank 0
    alone and before any rank ends, because torchrun stops all ranks when the first one fails. Raises
    DistributedError on the other ranks where rank 0 does not answer.
    """
    meeting = Meeting(timeout=timeout)
    found = examine_rank(config, meeting, quick=quick)
    own = json.dumps(found.to_dict())
    meeting.tell("found", own)
    if meeting.rank > 0:
        if meeting.hear_first("verdict", seconds=LONGEST + timeout) == GO:
            _together(meeting, found, quick=quick)
        level = Level(meeting.hear_first("level", seconds=LONGEST + timeout))
        meeting.leave(())
        return level
    everyone = [
        None if text is None else Found.from_dict(json.loads(text)) for text in meeting.hear("found", own)
    ]
    here = [each for each in everyone if each is not None]
    checks = [
        judge_versions({rank: each.versions for rank, each in enumerate(everyone) if each is not None}),
        judge_ranks(everyone, meeting.absent),
    ]
    able = len(here) == meeting.size > 1 and len({each.device for each in here}) == 1
    meeting.tell("verdict", GO if able else STAY)
    if able:
        measured = _together(meeting, found, quick=quick)
        checks += [measured] if isinstance(measured, Check) else _judge(config, here, *measured)
    shared = gathered([() if each is None else each.checks for each in everyone])
    report = Report(meeting.size, (*gathered([checks] * meeting.size).findings, *shared.findings))
    show(report)
    meeting.tell("level", report.level)
    meeting.leave([rank for rank, each in enumerate(everyone) if each is not None])
    return report.level


def judge_ranks(everyone: Sequence[Found | None], absent: Sequence[int]) -> Check:
    """everyone [W]: what each rank found, None where it did not answer; absent: ranks that never arrived."""
    silent = [rank for rank, each in enumerate(everyone) if each is None]
    if silent:
        missing = [rank for rank in silent if rank in absent]
        what = f"{named_ranks(missing)} did not arrive" if missing else f"{named_ranks(silent)} fell silent"
        return red(
            "ranks",
            f"{what} ({len(everyone)} are expected)",
            "look at its log and its host; let every host reach MASTER_ADDR:MASTER_PORT; raise --timeout "
            "if ranks take longer to start",
        )
    here = [None if each is None else each.device for each in everyone]
    devices = {device for device in here if device is not None}
    if len(devices) > 1:
        says = ", ".join(
            f"{device} on {named_ranks([rank for rank, each in enumerate(here) if each == device])}"
            for device in sorted(devices, key=here.index)
        )
        return red("ranks", f"their devices differ: {says}", "fix the drivers, or set train.device=cpu")
    hosts = {each.host for each in everyone if each is not None}
    return green("ranks", f"{len(everyone)} answered, on {_counted(len(hosts), 'host')}")


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _together(meeting: Meeting, found: Found, *, quick: bool) -> tuple[list[float], Link | None] | Check:
    """Collective: measure clocks and, unless quick, the link; a red check where ranks cannot exchange."""
    device = torch.device(found.device)
    try:
        with meeting.world(device) as world:
            return measure_clocks(world), None if quick else measure_link(world, device)
    except DistributedError as error:
        if meeting.rank:
            log.warning("%s", error)
        return red(
            "link",
            str(error),
            f"set {socket_names(found.device)} to the interface that joins the hosts "
            "(ip -br addr lists them), and open its ports",
        )
    except Exception as error:
        return failed("link", error)


def _judge(
    config: Config | None, everyone: Sequence[Found], clocks: Sequence[float], link: Link | None
) -> list[Check]:
    checks = [judge_clocks(clocks, [each.host for each in everyone])]
    if link is None:
        return checks
    slowest = max(everyone, key=lambda each: _compute(each))
    training = slowest.training
    if config is None or training is None or training.compute is None or training.backward is None:
        return [*checks, judge_link(link)]
    assert slowest.classes is not None
    device = planned_device(slowest.device)
    ranks = len(everyone)
    setting: Setting | PoolSetting
    if config.head.name == "pool":
        setting = planned_pool(config, {"classes": slowest.classes}, gpus=ranks, device=device)
    else:
        setting = planned_setting(config, classes=slowest.classes, gpus=ranks, device=device)
    return [
        *checks,
        judge_communication(
            link,
            setting,
            gradients=training.gradients,
            step=Step(training.compute, training.backward),
            steps=slowest.steps or 0,
            backend=slowest.device,
        ),
    ]


def _compute(found: Found) -> float:
    return (found.training and found.training.compute) or 0.0
