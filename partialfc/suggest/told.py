"""What is said of images, machine and files: at the top of a config, and to the user."""

from collections.abc import Iterator

from partialfc import __version__
from partialfc.errors import printable
from partialfc.suggest.asked import Asked
from partialfc.suggest.held_out import HeldOut
from partialfc.suggest.look import Look
from partialfc.suggest.machine import Machine
from partialfc.suggest.verified import Verified


def heading(asked: Asked, look: Look, machine: Machine) -> str:
    """The lines at the top of the config."""
    return (
        f"Written by partialfc {__version__} for {asked.told} and a machine with {machine.describe()}.\n"
        f"{found(look)}.\n"
        "Each key has its reason, and when to change it; docs/reference/config.md has all keys.\n"
        f"Check: partialfc doctor {asked.path}\nTrain: {command(asked, machine)}"
    )


def command(asked: Asked, machine: Machine) -> str:
    """What starts the training on this machine, with a process for each accelerator."""
    if machine.accelerators <= 1:
        return f"partialfc train {asked.path}"
    each = machine.accelerators
    return f"torchrun --standalone --nproc-per-node {each} -m partialfc train {asked.path}"


def found(look: Look) -> str:
    """The images in numbers."""
    fewest, middle, most = look.per_class
    spread = (
        f"{fewest:,} to {most:,} a class, {middle:,} in the middle"
        if look.counted
        else f"about {middle:,} each"
    )
    low, _, high = look.sides
    size = f"{low}" if low == high else f"{low} to {high}"
    colour = "grey" if look.grey else "grey and colour" if look.some_grey else "colour"
    return f"{look.images:,} images of {look.classes:,} classes ({spread}), {size} pixels a side, {colour}"


def held(out: HeldOut) -> str:
    """What is held out, in a few words."""
    if out.kind == "classes":
        return f"{out.of:,} classes, {len(out.indices):,} images, held out for verification"
    return f"{len(out.indices):,} images, a fifth of each class and two at least, held out for verification"


def bad(asked: Asked, look: Look) -> str:
    """How many of the images that were looked at training would not take."""
    return printable(
        f"{asked.told}: {look.bad} of {look.headers + look.bad} images that were looked at cannot be used, "
        f"such as {look.bad_name}"
    )


def summary(asked: Asked, look: Look, machine: Machine, verified: Verified) -> Iterator[str]:
    """Lines that say what was found and written, as a terminal may get them."""
    yield from map(printable, _summary(asked, look, machine, verified))


def _summary(asked: Asked, look: Look, machine: Machine, verified: Verified) -> Iterator[str]:
    yield f"{asked.told}: {found(look)}"
    if look.bad:
        yield f"{bad(asked, look)}: partialfc data check {asked.told} names all"
    yield f"this machine: {machine.describe()}"
    if verified.held is not None and verified.pairs is not None:
        yield f"{asked.keys}: {held(verified.held)}"
        yield f"{asked.pairs}: {len(verified.pairs.same):,} pairs of them"
    elif verified.sets:
        yield f"verified on {', '.join(verified.sets.values())}"
    else:
        yield f"no verification: {verified.why.removeprefix('None: ')}"
    yield f"{asked.path}: a config for them, with a reason above each key; {command(asked, machine)}"
