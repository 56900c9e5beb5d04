"""A small bundle of hand-written networks, for tests of the station that need no training."""

from pathlib import Path

from edge.bundle import Bundle
from export.bundle import Ingredients, assemble
from export.golden import draw_golden_pictures
from export.onnx import export_onnx
from export.parts import signature_of
from export.testing import ColourClassifier, PurpleDetector, classifier_facts, detector_facts


def make_bundle(out: Path, workbench: Path, *, release: int = 1) -> Bundle:
    """Networks that see stain and nothing else, exported and packed as trained ones are."""
    found, named = detector_facts(), classifier_facts()
    files = {}
    for role, network, facts in (
        ("detector", PurpleDetector(), found),
        ("classifier", ColourClassifier(), named),
    ):
        files[role] = export_onnx(
            network=network, signature=signature_of(facts), path=workbench / f"{role}.onnx"
        )
    return assemble(
        Ingredients(
            name="handmade",
            release=release,
            detector_files={"fp32": files["detector"]},
            detector_facts=found,
            classifier_files={"fp32": files["classifier"]},
            classifier_facts=named,
            golden=draw_golden_pictures(detector=found, classifier=named),
        ),
        out=out,
    )
