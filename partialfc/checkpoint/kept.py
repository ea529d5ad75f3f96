"""Which checkpoints of a run are kept, and in which order they are tried: decided by their records alone.

A run's checkpoints are a line, each of which goes on from the one before. A run that is taken back to an
older checkpoint starts a new line there, and what came after it is left aside: it is neither resumed from
unasked nor counted with the new ones.

A new rule is a condition here. `folder.py` deletes by it, `start.py` resumes by it, training/saving.py says
when, and doctor/disk.py counts how many there are at most; its keys are in config/checkpoint.py.
"""

from dataclasses import replace

from partialfc.checkpoint.lineage import Found, Lineage, Origin, Records, Saved


def line_of(records: Records, name: str | None) -> Lineage | None:
    """The checkpoint of that name and those that it goes on from, newest first; None where that is not known.

    They may be gone, or damaged. name: None for the newest, where no `latest` names it.
    """
    found = records.found.get(name or "")
    if name is not None and found is not None and found.seal is not None and found.before is not None:
        return found.before.followed_by(Saved(name, found.seal))
    noted = () if records.noted is None else records.noted.line
    names = [saved.name for saved in noted]
    if records.noted is not None and (name is None or name in names):
        return Lineage(noted[names.index(name) if name else 0 :], records.noted.origin)
    if all(each.before is None for each in records.found.values()) or (found is not None and found.seal):
        return _by_number(records, name)
    if found is not None:
        return None
    newest = [each for each in sorted(records.found, reverse=True) if not _has_successor(records, each)]
    return line_of(records, newest[0]) if len(newest) == 1 else None


def present(records: Records, lineage: Lineage) -> list[str]:
    """The names on the line that are there, newest first; some may be damaged."""
    return [saved.name for saved in lineage.line if _is_it(records.found.get(saved.name), saved.seal)]


def still_there(records: Records, lineage: Lineage) -> Lineage:
    """The part of the line that is there, which is what a new checkpoint of it says that it goes on from."""
    here = present(records, lineage)
    return replace(lineage, line=tuple(saved for saved in lineage.line if saved.name in here))


def tried_in_order(records: Records) -> list[str]:
    """What a run resumes from: what `latest` names, then those that it goes on from, newest first."""
    lineage = line_of(records, records.latest)
    return [] if lineage is None else present(records, lineage)


def tried_after(records: Records, asked: Origin) -> list[str]:
    """What a run resumes from that began from `asked` and is told so again, newest first; without `asked`.

    asked: its seal is empty where the path is a run, or a checkpoint that cannot be read: the path decides.
    """
    lineage = line_of(records, records.latest)
    if lineage is None or lineage.origin is None or not _is_same(lineage.origin, asked):
        return []
    names = []
    for name in present(records, lineage):
        found = records.found[name]
        began_alike = found.before is not None and found.before.origin == lineage.origin
        if found.seal is not None and not began_alike:
            break  # here are those that `asked` itself goes on from
        names.append(name)
    return names


def left_aside(records: Records, lineage: Lineage) -> list[str]:
    """The checkpoints that are not on the line, by name."""
    return sorted({*records.found} - {*present(records, lineage)})


def superseded(records: Records, *, keep_last: int) -> list[str]:
    """Those to delete: of the newest one's line all but the newest `keep_last`, and what is left aside.

    What is left aside stays until the line has `keep_last` checkpoints, and the best stays in any case.
    """
    lineage = line_of(records, records.latest)
    if lineage is None:
        return []
    own = [name for name in present(records, lineage) if records.found[name].seal is not None]
    old = own[keep_last:]
    if len(own) >= keep_last:
        old += [name for name in records.found if name not in own]
    return sorted(name for name in old if name != records.best)


def most_at_once(records: Records, start: Lineage, *, keep_last: int, keep_best: bool) -> int:
    """How many checkpoints there are at a time, at most, in a run that goes on from `start`."""
    usual = keep_last + keep_best + 1  # one more while it is being written
    aside = len(left_aside(records, start))
    return max(usual, aside + max(keep_last, len(present(records, start)) + 1)) if aside else usual


def _by_number(records: Records, name: str | None) -> Lineage:
    """The line of checkpoints in which no lineage is written, as by version 0.1: the steps up to `name`'s."""
    names = sorted((each for each in records.found if records.found[each].before is None), reverse=True)
    line = [each for each in names if name is None or _step(each) <= _step(name)]
    return Lineage(tuple(Saved(each, records.found[each].seal or "") for each in line))


def _has_successor(records: Records, name: str) -> bool:
    seal = records.found[name].seal
    others = [found.before for found in records.found.values() if found.before is not None]
    return any(saved.name == name and seal in (saved.seal, None) for other in others for saved in other.line)


def _is_it(found: Found | None, seal: str) -> bool:
    """Whether what was found under a name is the checkpoint of that seal, or may be it."""
    return found is not None and (found.seal is None or not seal or found.seal == seal)


def _is_same(origin: Origin, asked: Origin) -> bool:
    return origin.seal == asked.seal if asked.seal else origin.path == asked.path


def _step(name: str) -> int:
    digits = name.removeprefix("step-")
    return int(digits) if digits.isdecimal() else -1
