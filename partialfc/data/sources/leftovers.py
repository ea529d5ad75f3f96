"""What notebooks, file managers, archivers and disks leave among files, known by its name."""

_NAMES = frozenset(
    (
        "__macosx",  # macOS's archiver
        "icon\r",  # macOS's Finder
        "thumbs.db",  # Windows' Explorer, as the next two
        "ehthumbs.db",
        "desktop.ini",
        "$recycle.bin",
        "system volume information",
        "@eadir",  # Synology: thumbnails beside each image
        "#recycle",
        "#snapshot",
        "@recycle",  # QNAP
        "@recently-snapshot",
        "lost+found",  # ext4, at the root of a disk
        "__pycache__",
    )
)
_HIDDEN = ("._", ".Trash", ".fuse_hidden", ".nfs", ".~lock")  # each the start of many names


def leftover_kind(name: str) -> str | None:
    """What a file or folder of this name is counted as, such as `._*`; None where it is no leftover.

    Whatever is hidden (its name begins with a dot) is one: macOS's `._name.jpg` and `.DS_Store`, Jupyter's
    `.ipynb_checkpoints`, `.git`, and what a program was still writing.
    """
    if name.startswith("."):
        return next((f"{start}*" for start in _HIDDEN if name.startswith(start)), name)
    return name.strip("\r") if name.lower() in _NAMES else None
