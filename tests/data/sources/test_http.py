"""Sources behind a real HTTP server, that is well, that fails now and then, and that dies."""

import pytest

from partialfc.data.sources import byte_files
from partialfc.data.sources.source import open_source
from partialfc.errors import DataError
from tests.data.sources.file_server import served
from tests.data.sources.kinds import images, parquet, shards, text_list

CONTENT = images()


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setattr(byte_files, "PAUSES", (0.0, 0.0))
    with served(tmp_path) as found:
        yield found


def build(server, kind: str) -> str:
    """The URL of the images in one kind of source."""
    if kind == "shards":
        shards(server.folder, CONTENT)
        return server.url("set/{0,1}/shard-{000..001}.tar").replace(
            "{0,1}/shard-{000..001}", "{0/shard-000,1/shard-001}"
        )
    if kind == "parquet":
        parquet(server.folder, CONTENT)
        return server.url("set/{0,1}.parquet")
    text_list(server.folder, CONTENT)
    return server.url("list.txt")


KINDS = ("shards", "parquet", "list")


@pytest.mark.parametrize("kind", KINDS)
def test_it_holds_the_images_with_their_classes(server, kind):
    source = open_source(build(server, kind))
    assert source.classes == ["ant", "bee", "cat"]
    found = [source.read(index) for index in range(len(source))]
    assert [(source.classes[label], data) for data, label in found] == CONTENT
    assert len({*source.each_key()}) == len(CONTENT)


def test_a_local_list_may_name_images_behind_urls(server, tmp_path):
    text_list(tmp_path, CONTENT)
    lines = [f"{server.url(line)}\n" for line in (tmp_path / "list.txt").read_text().splitlines()]
    (tmp_path / "urls.txt").write_text("".join(lines))
    source = open_source(tmp_path / "urls.txt")
    assert [source.read(index)[0] for index in range(len(source))] == [data for _, data in CONTENT]
    assert source.key(0) == lines[0].partition("\t")[0]


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_fails_now_and_then_is_asked_again(server, kind, caplog):
    url, busy = build(server, kind), []

    def refuse(path):
        busy.append(path)
        return 503 if len(busy) % 3 == 0 else None

    server.refuse = refuse
    source = open_source(url)
    assert [source.read(index)[0] for index in range(len(source))] == [data for _, data in CONTENT]
    assert "HTTP 503 Service Unavailable; trying again" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("lives", [0, 1, 2], ids="dies {} requests on".format)
def test_a_server_that_dies_while_a_source_is_opened(server, kind, lives):
    url, server.lives = build(server, kind), lives
    with pytest.raises(DataError, match=r"^http://127.* cannot be read: .*, tried 3 times") as error:
        open_source(url)
    assert len(str(error.value).splitlines()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_server_that_dies_while_images_are_read(server, kind):
    source = open_source(build(server, kind))
    server.lives = server.answered + 4
    with pytest.raises(DataError, match=r"^http://127.* cannot be read: .*, tried 3 times"):
        [source.read(index) for index in range(len(source))]


@pytest.mark.parametrize(
    ("status", "says"),
    [(404, "does not exist"), (410, "does not exist"), (403, "cannot be read: HTTP 403 Forbidden$")],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_the_server_refuses_is_told_at_once(server, kind, status, says):
    url = build(server, kind)
    server.refuse = lambda path: status
    with pytest.raises(DataError, match=says):
        open_source(url)
    assert server.answered <= 4  # one of each file that is asked for together, by HEAD and by GET


def test_an_image_of_a_list_that_is_gone_is_named_with_its_line(server, tmp_path):
    url = build(server, "list")
    (tmp_path / "images/bee/4.png").unlink()
    source = open_source(url)
    with pytest.raises(DataError, match=r"images/bee/4\.png: does not exist \(line 5 of http.*list\.txt\)"):
        source.read(4)
    (tmp_path / "images").rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=r"line 1 of .*ant/0\.png does not exist, nor do others; paths"):
        open_source(url)
