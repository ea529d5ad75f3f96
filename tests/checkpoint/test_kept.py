"""What is kept of a run's checkpoints, and what is tried first, over everything that may happen to a run."""

from dataclasses import dataclass, field, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from partialfc.checkpoint.kept import (
    left_aside,
    line_of,
    most_at_once,
    still_there,
    superseded,
    tried_after,
    tried_in_order,
)
from partialfc.checkpoint.lineage import Found, Lineage, Origin, Records, Saved


def name_of(step: int) -> str:
    return f"step-{step:08d}"


def old(*steps: int, latest: int | None) -> Records:
    """Checkpoints as version 0.1 wrote them, without lineages."""
    found = {name_of(step): Found(name_of(step), f"seal{step}", None) for step in steps}
    return Records(found, None if latest is None else name_of(latest))


def test_without_lineages_the_order_is_that_of_the_steps():
    records = old(2, 4, 1, 3, latest=4)
    assert tried_in_order(records) == [name_of(step) for step in (4, 3, 2, 1)]
    assert superseded(records, keep_last=2) == [name_of(1), name_of(2)]
    assert superseded(replace(records, best=name_of(1)), keep_last=2) == [name_of(2)]
    assert superseded(records, keep_last=9) == []


@pytest.mark.parametrize("latest", [None, 9])
def test_without_a_latest_the_newest_is_tried_first(latest):
    assert tried_in_order(old(2, 3, latest=latest)) == [name_of(3), name_of(2)]


def test_a_latest_set_back_by_hand_is_a_rollback():
    records = old(2, 4, 1, 3, latest=2)
    assert tried_in_order(records) == [name_of(2), name_of(1)]
    assert superseded(records, keep_last=2) == [name_of(3), name_of(4)]


@dataclass
class Disk:
    """A run's folder of checkpoints as `CheckpointFolder` keeps it, and where each truly comes from."""

    keep_last: int
    found: dict[str, Found] = field(default_factory=dict)
    latest: str | None = None
    best: str | None = None
    noted: Lineage | None = None
    # By seal: that of the one it truly goes on from, and where the run that wrote it was told to begin.
    parent: dict[str, str | None] = field(default_factory=dict)
    began: dict[str, str] = field(default_factory=dict)
    spoilt: set[str] = field(default_factory=set)  # seals of checkpoints whose tensors are damaged
    made: int = 0

    @property
    def records(self) -> Records:
        return Records(dict(self.found), self.latest, self.best, self.noted)

    def whole(self, name: str) -> bool:
        seal = self.found[name].seal
        return seal is not None and seal not in self.spoilt

    def ancestors(self, seal: str | None) -> list[str]:
        seals = []
        while seal is not None:
            seals.append(seal)
            seal = self.parent[seal]
        return seals

    def named(self, seal: str) -> str | None:
        return next((name for name, found in self.found.items() if found.seal == seal), None)


@dataclass
class Run:
    """A process that has started: the checkpoint that it goes on from, and its step."""

    after: Lineage
    step: int
    seal: str | None  # of the checkpoint that it truly goes on from
    began: str  # from the seal that it was told to begin from; empty where it was told none


def save(disk: Disk, run: Run, steps: int) -> Run:
    before = disk.records
    run = replace(run, step=run.step + steps)
    name, seal = name_of(run.step), f"seal{disk.made}"
    disk.made += 1
    lineage = still_there(before, run.after)
    if disk.best == name and name in disk.found:
        disk.best = None
    disk.found[name] = Found(name, seal, lineage)
    disk.parent[seal] = run.seal
    disk.began[seal] = run.began
    after = lineage.followed_by(Saved(name, seal))
    disk.latest, disk.noted = name, after
    check_prune(disk, seal)
    return Run(after, run.step, seal, run.began)


def check_prune(disk: Disk, saved: str) -> None:
    """Delete what is superseded, and look at what is left."""
    line = set(disk.ancestors(saved))
    before = {name: found.seal for name, found in disk.found.items()}
    gone = superseded(disk.records, keep_last=disk.keep_last)
    for name in gone:
        del disk.found[name]
    assert disk.latest in disk.found, "the checkpoint just saved is there"
    own = sorted((name for name, seal in before.items() if seal in line), reverse=True)
    assert set(own[: disk.keep_last]) <= set(disk.found), "the newest of the line are there"
    assert disk.best not in gone
    aside = {name for name, seal in before.items() if seal not in line}
    if len(own) < disk.keep_last:
        assert aside <= set(disk.found), "what was left aside stays until the line is long enough"
    else:
        assert not (aside & set(disk.found)) - {disk.best}
        assert len(disk.found) <= disk.keep_last + 1


def restart(disk: Disk) -> Run | None:
    """`resume: auto`: the newest whole one that the newest truly goes on from, if there is one."""
    records = disk.records
    chosen = next((name for name in tried_in_order(records) if disk.whole(name)), None)
    truth = set() if disk.noted is None else set(disk.ancestors(disk.noted.line[0].seal))
    usable = [name for name, found in disk.found.items() if found.seal in truth and disk.whole(name)]
    assert chosen == max(usable, default=None)
    if chosen is None:
        return None
    lineage = line_of(records, chosen)
    assert lineage is not None
    seal = disk.found[chosen].seal
    assert seal is not None
    return Run(lineage, int(chosen[5:]), seal, disk.began[seal])


def begin_from(disk: Disk, name: str) -> Run:
    """`resume: PATH` of a whole checkpoint in the folder; the same command once more goes on."""
    records = disk.records
    seal = disk.found[name].seal
    assert seal is not None
    again = [each for each in tried_after(records, Origin(f"/run/{name}", seal)) if disk.whole(each)]
    head = disk.noted.line[0].seal if disk.noted else None
    since = []  # what the newest goes on from, as far as it began from this very checkpoint
    for each in disk.ancestors(head):
        if each == seal or disk.began[each] != seal:
            break
        since.append(each)
    usable = [found for found in (disk.named(each) for each in since) if found and disk.whole(found)]
    assert again[:1] == usable[:1]
    if again:
        lineage = line_of(records, again[0])
        assert lineage is not None
        return Run(lineage, int(again[0][5:]), disk.found[again[0]].seal, seal)
    lineage = line_of(records, name)
    assert lineage is not None
    others = {other for other, found in disk.found.items() if found.seal not in disk.ancestors(seal)}
    assert {each for each in left_aside(records, lineage) if disk.found[each].seal} <= others
    return Run(lineage.begun_from(Origin(f"/run/{name}", seal)), int(name[5:]), seal, seal)


EVENTS = st.tuples(
    st.sampled_from(
        ["save"] * 6
        + ["roll back"] * 3
        + ["requeue"] * 2
        + ["best", "restart", "damage", "damage the state", "delete", "lose"]
    ),
    st.integers(0, 9),
)


@settings(max_examples=300, deadline=None)
@given(keep_last=st.integers(1, 3), events=st.lists(EVENTS, min_size=10, max_size=40))
def test_whatever_happens_to_a_run(keep_last: int, events: list[tuple[str, int]]):
    """Saves, damage, deletions, rollbacks and requeues, in any order."""
    disk, asked = Disk(keep_last), ""
    run: Run | None = Run(Lineage(), 0, None, "")
    for event, number in events:
        names = sorted(disk.found)
        chosen = names[number % len(names)] if names else None
        if event == "save" and run is not None:
            run = save(disk, run, 1 + number % 3)
        elif event == "restart" and names:
            run = restart(disk)
        elif chosen is None:
            continue
        elif event == "best" and run is not None and disk.latest in disk.found:
            disk.best = disk.latest
        elif event == "roll back" and disk.whole(chosen):
            asked = chosen
            run = begin_from(disk, asked)
        elif event == "requeue" and asked in disk.found and disk.whole(asked):
            run = begin_from(disk, asked)
        elif event == "damage":
            disk.spoilt.add(disk.found[chosen].seal or "")
        elif event == "damage the state":
            disk.found[chosen] = Found(chosen, None, None)
        elif event == "delete":
            del disk.found[chosen]
            if disk.best == chosen:
                disk.best = None
        elif event == "lose":  # `lineage` is a second record: one of the two may be lost
            newest = disk.found.get(disk.latest or "")
            if newest is not None and newest.seal is not None:
                disk.noted, kept = None, disk.noted
                assert line_of(disk.records, disk.latest) == kept
                disk.noted = kept


def test_another_checkpoint_of_the_same_name_is_not_gone_on_from():
    """6 goes on from the first 5; the run was taken back to 4, and wrote another 5."""
    first = Lineage((Saved(name_of(5), "first"), Saved(name_of(4), "four")))
    found = {
        name_of(4): Found(name_of(4), "four", Lineage()),
        name_of(5): Found(name_of(5), "second", Lineage((Saved(name_of(4), "four"),))),
        name_of(6): Found(name_of(6), "six", first),
    }
    assert tried_in_order(Records(found, name_of(6))) == [name_of(6), name_of(4)]
    assert tried_in_order(Records(found, name_of(5))) == [name_of(5), name_of(4)]
    assert tried_in_order(Records(found, None)) == []  # two are the newest of their lines: one must be named


def test_a_run_told_again_to_begin_from_a_checkpoint_goes_on_or_begins_there():
    origin = Origin("/run/step-00000004", "four")
    before = Lineage((Saved(name_of(3), "three"),))
    from_four = Lineage((Saved(name_of(4), "four"), *before.line), origin)
    found = {
        name_of(3): Found(name_of(3), "three", Lineage()),
        name_of(4): Found(name_of(4), "four", before),
        name_of(5): Found(name_of(5), "five", from_four),
    }
    records = Records(found, name_of(5))
    assert tried_after(records, origin) == [name_of(5)]
    assert tried_after(records, Origin("/moved/step-00000004", "four")) == [name_of(5)]
    assert tried_after(records, Origin("/run/step-00000004", "")) == [name_of(5)]  # it is gone by now
    assert tried_after(records, Origin("/run/step-00000004", "another")) == []
    assert tried_after(records, Origin("/run/step-00000003", "three")) == []


def test_room_is_counted_for_what_is_left_aside():
    """5000 and 6000 lie there, and the run begins from 1000, which lies elsewhere or there."""
    records = old(5000, 6000, latest=6000)
    usual = {"keep_last": 2, "keep_best": True}
    newest = line_of(records, records.latest)
    assert newest is not None
    assert most_at_once(records, newest, **usual) == 4
    assert most_at_once(records, Lineage(), **usual) == 4
    assert most_at_once(records, Lineage(), keep_last=3, keep_best=False) == 5
