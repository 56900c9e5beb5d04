from __future__ import annotations

from trainer.facts import combined_fingerprint, fingerprint


def test_a_fingerprint_names_samples_and_labels_and_nothing_else(tmp_path):
    one, two, copy = (tmp_path / name for name in ("one", "two", "copy"))
    one.write_bytes(b"1")
    two.write_bytes(b"2")
    copy.write_bytes(b"1")
    first = fingerprint([(one, "WBC"), (two, "RBC")])
    assert first == fingerprint([(two, "RBC"), (copy, "WBC")])
    assert first != fingerprint([(one, "RBC"), (two, "WBC")])
    two.write_bytes(b"3")
    assert first != fingerprint([(one, "WBC"), (two, "RBC")])


def test_a_combined_fingerprint_does_not_depend_on_order():
    assert combined_fingerprint(["a" * 64, "b" * 64]) == combined_fingerprint(["b" * 64, "a" * 64])
    assert combined_fingerprint(["a" * 64]) != combined_fingerprint(["b" * 64])
