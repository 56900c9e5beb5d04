"""The splits behind the station's classifier: its published figures hold for these and for no others."""

import hashlib
import json

import pytest

from trainer.classification.corpus import SPLITS, Corpus, read_samples

SHIPPED = "af04cfc97f9ff24bbc3f51e2c3a6a18e467f8283d05c1af7a6f06411b57b466c"


@pytest.mark.data
def test_the_shipped_classifier_s_splits_are_what_they_were(data_dir):
    samples, blocks = read_samples(data_dir)
    corpus = Corpus(samples=samples, blocks=blocks, pictures=(), virtual=())
    splits = {name: corpus.split(name) for name in SPLITS}
    indices = {name: [list(split.train), list(split.held_out)] for name, split in splits.items()}
    told = json.dumps([list(blocks), indices], sort_keys=True)
    assert hashlib.sha256(told.encode()).hexdigest() == SHIPPED
