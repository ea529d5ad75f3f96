"""IJB's lists: what is read of them, and what is wrong in one."""

import numpy as np
import pytest

from partialfc.data.benchmarks.ijb import read_templates
from partialfc.data.images.codec import decode
from partialfc.errors import DataError, ImageError
from tests.cli.protocols.ijb import POINTS, write_ijb


def test_lists_as_they_are_published(tmp_path):
    write_ijb(tmp_path)
    found = read_templates(tmp_path)
    assert len(found.images) == len(found.template) == len(found.media)
    assert found.landmarks[0] == pytest.approx(POINTS, abs=5)
    assert (found.detector <= 1).all()
    assert found.same.dtype == np.bool_
    assert [each.templates.tolist() for each in found.galleries] == [[1, 2, 3], [4, 5]]
    assert found.probes.subjects.tolist() == [each % 5 for each in range(6, 15)]
    assert decode(found.aligned()[0]).shape == (112, 112, 3)


def test_one_of_both_protocols(tmp_path):
    write_ijb(tmp_path)
    for path in (tmp_path / "meta").glob("*_1N_*"):
        path.unlink()
    assert read_templates(tmp_path).probes is None
    (tmp_path / "meta" / "ijbc_template_pair_label.txt").unlink()
    with pytest.raises(DataError, match=r"has neither ijbc_template_pair_label\.txt nor the lists of 1:N"):
        read_templates(tmp_path)


@pytest.mark.parametrize(
    ("name", "old", "new", "says"),
    [
        ("ijbc_face_tid_mid.txt", "2.png 1 ", "9.png 1 ", "line 2 is of '9.png', and line 2 of .*"),
        ("ijbc_face_tid_mid.txt", "1.png 1 100\n", "", "line 1 is of '2.png'"),
        ("ijbc_face_tid_mid.txt", "1.png 1 100", "1.png 1", "line 1 has 2 fields, not 3"),
        ("ijbc_name_5pts_score.txt", "2.png ", "2.png x ", "name_5pts_score.txt: "),
        ("ijbc_template_pair_label.txt", "1 8 0", "1 eight 0", "pair_label.txt: .*eight"),
        ("ijbc_1N_gallery_G1.csv", "3,3,img", "3,4,img", "template 3 has 2 subjects, such as 3 and 4"),
    ],
    ids=["another order", "a line less", "a field less", "a field more", "no number", "two subjects"],
)  # fmt: skip
def test_what_is_wrong_in_a_list_is_said(tmp_path, name, old, new, says):
    write_ijb(tmp_path)
    path = tmp_path / "meta" / name
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(DataError, match=says):
        read_templates(tmp_path)


def test_a_folder_without_lists_and_one_with_two(tmp_path):
    with pytest.raises(DataError, match=r"has no \*_face_tid_mid.txt; give the folder of IJB-B or of IJB-C"):
        read_templates(tmp_path)
    write_ijb(tmp_path / "a")
    (tmp_path / "a" / "meta" / "ijbb_face_tid_mid.txt").touch()
    with pytest.raises(DataError, match="has several"):
        read_templates(tmp_path / "a")


def test_landmarks_that_are_no_face(tmp_path):
    write_ijb(tmp_path)
    found = read_templates(tmp_path)
    found.landmarks[0] = 5
    with pytest.raises(ImageError):
        found.aligned()[0]
