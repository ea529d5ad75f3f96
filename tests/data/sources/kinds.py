"""Every kind of source with the same images, for the tests that all of them run."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from partialfc.data.sources.insightface import write_source
from partialfc.data.sources.labelled import Labelled
from partialfc.data.sources.source import open_source
from tests.data.sources.cases import png

Image = tuple[str, bytes]  # class name, encoded image


def images(each: int = 3) -> list[Image]:
    """So many of each of three classes, all different, those of a class not side by side."""
    return [(name, png(16 * n % 251 + at, 8 + n % 7)) for n in range(each) for at, name in enumerate(NAMES)]


NAMES = ("ant", "bee", "cat")


@dataclass(frozen=True, slots=True)
class Opening:
    """What open_source is given: the arguments, but for what a test adds."""

    path: Any
    options: dict[str, Any] = field(default_factory=dict)

    def open(self, **more: Any) -> Labelled:
        return open_source(self.path, **self.options, **more)


@dataclass(frozen=True, slots=True)
class Kind:
    """build: writes the images below a folder.

    named: whether classes have names. own_ids: whether its labels are ids whatever the names. file: what is
    cut, if anything.
    """

    build: Callable[[Path, Sequence[Image]], Opening]
    named: bool = True
    own_ids: bool = False
    file: str | None = None


def folder(path: Path, content: Sequence[Image]) -> Opening:
    for number, (name, data) in enumerate(content):
        (path / "images" / name).mkdir(parents=True, exist_ok=True)
        (path / "images" / name / f"{number}.png").write_bytes(data)
    return Opening(path / "images")


def records(path: Path, content: Sequence[Image]) -> Opening:
    samples = sorted((NAMES.index(name), data) for name, data in content)
    (path / "packed").mkdir(parents=True)
    target = path / "packed/train.rec"
    write_source(target, ((data, label) for label, data in samples), num_classes=3, image_size=(8, 8))
    target.with_name("classes.txt").write_text("".join(f"{name}\n" for name in NAMES))
    return Opening(target)


def nameless_records(path: Path, content: Sequence[Image]) -> Opening:
    opening = records(path, content)
    opening.path.with_name("classes.txt").unlink()
    return opening


def text_list(path: Path, content: Sequence[Image]) -> Opening:
    folder(path, content)
    lines = [f"images/{name}/{number}.png\t{name}" for number, (name, _) in enumerate(content)]
    (path / "list.txt").write_text("\n".join(lines) + "\n")
    return Opening(path / "list.txt")


def list_of_ids(path: Path, content: Sequence[Image]) -> Opening:
    """With blanks between, and the paths relative to another folder than the list's."""
    folder(path, content)
    lines = [f"{name}/{number}.png {NAMES.index(name)}" for number, (name, _) in enumerate(content)]
    (path / "lists").mkdir()
    (path / "lists/list.txt").write_text("\n".join(lines) + "\n")
    return Opening(path / "lists/list.txt", {"root": path / "images"})


def write_tar(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
    return path


def shards(path: Path, content: Sequence[Image]) -> Opening:
    """Two, in folders of their own, and a sample that has more files than it needs."""
    half = len(content) // 2
    for shard, part in enumerate((content[:half], content[half:])):
        members = {"some/0.txt": b"no image", "some/0.json": b"{}"}
        for number, (name, data) in enumerate(part):
            members |= {f"some/{number}.png": data, f"some/{number}.cls": f"{name}\n".encode()}
        write_tar(path / f"set/{shard}/shard-{shard:03d}.tar", members)
    return Opening(path / "set/*/*.tar")


def remote_shards(path: Path, content: Sequence[Image]) -> Opening:
    """Behind a URL, with ids in JSON, before the images."""
    for shard in range(3):
        members = {}
        for number, (name, data) in [*enumerate(content)][shard::3]:
            members[f"{number}.json"] = json.dumps({"label": NAMES.index(name), "more": [1]}).encode()
            members[f"{number}.png"] = data
        write_tar(path / f"set/shard-{shard:03d}.tar", members)
    return Opening(f"file://{path}/set/shard-{{000..002}}.tar")


def write_parquet(path: Path, columns: Mapping[str, Any], **how: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = columns if isinstance(columns, pa.Table) else pa.table(columns)
    pq.write_table(table, path, **({"compression": "none", "use_dictionary": False} | how))
    return path


def columns_of(content: Sequence[Image], named: bool = True) -> dict[str, Any]:
    return {
        "label": [name if named else NAMES.index(name) for name, _ in content],
        "image": [data for _, data in content],
    }


def parquet(path: Path, content: Sequence[Image]) -> Opening:
    """Two files with columns of bytes and text."""
    half = len(content) // 2
    for number, part in enumerate((content[:half], content[half:])):
        write_parquet(path / f"set/{number}.parquet", columns_of(part))
    return Opening(path / "set")


def compressed_parquet(path: Path, content: Sequence[Image]) -> Opening:
    """Ids, and row groups of two images, that only pyarrow can read."""
    columns = columns_of(content, named=False)
    return Opening(write_parquet(path / "a.parquet", columns, compression="zstd", row_group_size=2))


def dataset(content: Sequence[Image]) -> pa.Table:
    """As the `datasets` library has it, with the names of the classes in the metadata."""
    features = {"label": {"names": [*NAMES], "_type": "ClassLabel"}, "picture": {"_type": "Image"}}
    images = [{"bytes": data, "path": None} for _, data in content]
    kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    labels = [NAMES.index(name) for name, _ in content]
    table = pa.table({"picture": pa.array(images, kind), "label": labels})
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def hub(path: Path, content: Sequence[Image]) -> Opening:
    write_parquet(path / "hub/data/train-00000-of-00001.parquet", dataset(content))
    return Opening(path / "hub")


def saved(path: Path, content: Sequence[Image]) -> Opening:
    """As save_to_disk writes it, in two files and batches of four."""
    (path / "saved").mkdir(parents=True)
    names = [f"data-{number:05d}-of-00002.arrow" for number in range(2)]
    for name, part in zip(names, (content[:5], content[5:]), strict=True):
        table = dataset(part)
        with pa.ipc.new_stream(path / "saved" / name, table.schema) as stream:
            stream.write_table(table, max_chunksize=4)
    (path / "saved/state.json").write_text(
        json.dumps({"_data_files": [{"filename": name} for name in names]})
    )
    return Opening(path / "saved")


def several(path: Path, content: Sequence[Image]) -> Opening:
    """A folder and a list, which have classes in common."""
    half = len(content) // 2
    first, second = folder(path / "a", content[:half]), text_list(path / "b", content[half:])
    return Opening([first.path, second.path])


def selection(path: Path, content: Sequence[Image]) -> Opening:
    """Of a folder with a class more, and some images that are not taken."""
    opening = folder(path, [*content, *((name, png(250)) for name in ("aaa", "bee"))])
    bad = (f"{name}/{number}.png\n" for number, name in enumerate(("aaa", "bee"), start=len(content)))
    (path / "bad.txt").write_text("".join(bad))
    return Opening(opening.path, {"leave_out": path / "bad.txt"})


KINDS = {
    "folder": Kind(folder),
    "records": Kind(records, own_ids=True, file="packed/train.rec"),
    "records without names": Kind(nameless_records, named=False, file="packed/train.rec"),
    "list": Kind(text_list),
    "list of ids": Kind(list_of_ids, named=False),
    "shards": Kind(shards, file="set/1/shard-001.tar"),
    "shards behind a URL": Kind(remote_shards, named=False, file="set/shard-001.tar"),
    "parquet": Kind(parquet, file="set/1.parquet"),
    "compressed parquet": Kind(compressed_parquet, named=False, file="a.parquet"),
    "parquet of the hub": Kind(hub, file="hub/data/train-00000-of-00001.parquet"),
    "saved to disk": Kind(saved, file="saved/data-00001-of-00002.arrow"),
    "several": Kind(several),
    "selection": Kind(selection),
}
