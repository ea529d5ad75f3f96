"""What one rank found."""

import json

from partialfc.doctor.rank import Found
from tests.doctor.rank_cases import told


def test_what_a_rank_found_survives_the_way():
    found = told("a", "b")
    assert Found.from_dict(json.loads(json.dumps(found.to_dict()))) == found
