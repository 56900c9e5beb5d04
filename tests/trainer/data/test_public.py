import re

import pytest

from trainer.data.public import BCCD, PBC, SOURCES, source
from trainer.errors import FetchError


def test_every_collection_is_found_by_its_name():
    assert [source(each.name) for each in SOURCES] == list(SOURCES)
    assert len({each.name for each in SOURCES}) == len(SOURCES)


def test_an_unknown_collection_is_told_which_there_are():
    with pytest.raises(FetchError, match="'atlantis'") as caught:
        source("atlantis")
    assert all(each.name in caught.value.remedy for each in SOURCES)


@pytest.mark.parametrize("each", SOURCES, ids=lambda each: each.name)
def test_a_collection_is_either_fetched_or_explained(each):
    assert bool(each.files) != bool(each.steps)
    assert each.licence
    assert each.home.startswith("https://")
    for file in each.files:
        assert file.url.startswith("https://")
        assert file.name == file.name.strip("/.")
        assert "/" not in file.name
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)


def test_what_may_not_be_shipped_is_what_its_terms_keep_to_research():
    assert {each.name for each in SOURCES if not each.ships} == {"all-idb", "all-aria", "ash"}
    assert all(each.terms.startswith("Yes") == each.ships for each in SOURCES)


def test_a_size_is_told_only_where_every_file_s_is_known():
    assert BCCD.size_bytes == 7_875_205
    assert PBC.size_bytes is None
