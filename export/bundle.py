"""Puts networks, golden set and model card into a bundle: whole, checked, and always the same bytes."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edge.bundle import Bundle, open_bundle
from edge.contract.manifest import (
    MANIFEST_NAME,
    MODEL_CARD_NAME,
    SCHEMA,
    Classifier,
    Data,
    DataSource,
    Detector,
    FilePrecision,
    GoldenSet,
    Manifest,
    Precision,
    Quantization,
    content_id,
)
from edge.engine.golden import check_golden
from edge.engine.onnxruntime import OnnxRuntimeEngine, classifier_engine, detector_engine
from edge.engine.signature import classifier_signature, detector_signature
from export.building_site import building_site, take_place
from export.card import model_card
from export.errors import AssemblyError
from export.golden import GoldenPictures, write_golden
from export.limits import GOLDEN_CHANGED, GOLDEN_TOLERANCE
from export.parts import classifier_part, detector_part, joined_sources
from trainer.facts import ClassifierFacts, DetectorFacts, combined_fingerprint

MAX_BUNDLE_BYTES: Final = 16 * 1024 * 1024
SHIPPABLE_LICENCES: Final = ("Apache-2.0", "CC BY 3.0", "CC BY 4.0", "CC0", "MIT")
"""Data under other licences may be trained on and reported about; nothing made from them is shipped."""


@dataclass(frozen=True, kw_only=True)
class Ingredients:
    """All that a bundle is made of. ``release`` only ever goes up on a station.

    ``detector_int8`` and ``classifier_int8`` tell how the INT8 files were made.
    """

    name: str
    release: int
    detector_files: Mapping[FilePrecision, Path]
    detector_facts: DetectorFacts
    classifier_files: Mapping[FilePrecision, Path]
    classifier_facts: ClassifierFacts
    golden: GoldenPictures
    detector_int8: Quantization | None = None
    classifier_int8: Quantization | None = None


def assemble(
    ingredients: Ingredients, *, out: Path, max_bytes: int = MAX_BUNDLE_BYTES, threads: int = 1
) -> Bundle:
    """Make the bundle at ``out``; what stood there stays until the new one is whole and was checked.

    The same ingredients give the same bytes and so the same id. Raises AssemblyError when the facts
    contradict each other, a licence forbids shipping, the bundle is larger than ``max_bytes``, a precision
    fails the golden set, or ``out`` holds something that is not a bundle; EngineError when a network is
    not what its facts say.
    """
    _refuse_licences((*ingredients.detector_facts.sources, *ingredients.classifier_facts.sources))
    _refuse_occupied(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with building_site(out) as site:
        detector = detector_part(
            ingredients.detector_facts,
            precisions=ingredients.detector_files,
            int8=ingredients.detector_int8,
        )
        classifier = classifier_part(
            ingredients.classifier_facts,
            precisions=ingredients.classifier_files,
            int8=ingredients.classifier_int8,
        )
        for part, files in (
            (detector, ingredients.detector_files),
            (classifier, ingredients.classifier_files),
        ):
            for precision, source in files.items():
                shutil.copyfile(source, site / part.files[precision])
        golden = _answered_golden(ingredients, detector, classifier, site=site, threads=threads)
        card = model_card(
            name=ingredients.name,
            release=ingredients.release,
            software=_software(),
            detector=ingredients.detector_facts,
            classifier=ingredients.classifier_facts,
            sources=joined_sources(ingredients.detector_facts.sources, ingredients.classifier_facts.sources),
            sizes_bytes={each.name: each.stat().st_size for each in sorted(site.glob("*.onnx"))},
            int8={
                role: made
                for role, made in (
                    ("detector", ingredients.detector_int8),
                    ("classifier", ingredients.classifier_int8),
                )
                if made is not None
            },
        )
        (site / MODEL_CARD_NAME).write_text(card, "utf-8")
        _write_manifest(site, _manifest(ingredients, detector, classifier, golden, site=site))
        _refuse_size(site, max_bytes)
        _prove(open_bundle(site), threads=threads)
        take_place(site, out)
    return open_bundle(out)


def _answered_golden(
    ingredients: Ingredients, detector: Detector, classifier: Classifier, *, site: Path, threads: int
) -> GoldenSet:
    """The golden set, answered by the very FP32 files of this bundle."""
    with (
        OnnxRuntimeEngine(
            path=site / detector.files["fp32"], signature=detector_signature(detector), threads=threads
        ) as finder,
        OnnxRuntimeEngine(
            path=site / classifier.files["fp32"], signature=classifier_signature(classifier), threads=threads
        ) as namer,
    ):
        # FP16 has no file: engines in it are built from the FP32 one.
        precisions: set[Precision] = {"fp16", *detector.files, *classifier.files}
        return write_golden(
            site=site,
            pictures=ingredients.golden,
            detector_engine=finder,
            classifier_engine=namer,
            kinds=detector.kinds,
            classifier=classifier,
            tolerance={each: GOLDEN_TOLERANCE[each] for each in sorted(precisions)},
            changed={each: GOLDEN_CHANGED[each] for each in sorted(precisions & set(GOLDEN_CHANGED))},
        )


def _manifest(
    ingredients: Ingredients, detector: Detector, classifier: Classifier, golden: GoldenSet, *, site: Path
) -> Manifest:
    facts = (ingredients.detector_facts, ingredients.classifier_facts)
    content: dict[str, Any] = {
        "schema": SCHEMA,
        "name": ingredients.name,
        "release": ingredients.release,
        "software": _software(),
        "detector": detector.model_dump(mode="json"),
        "classifier": classifier.model_dump(mode="json"),
        "golden": golden.model_dump(mode="json"),
        "data": Data(
            fingerprint=combined_fingerprint(each.fingerprint for each in facts),
            sources=joined_sources(*(each.sources for each in facts)),
        ).model_dump(mode="json"),
        "metrics": [metric.model_dump(mode="json") for each in facts for metric in each.metrics],
        "files": {
            place.relative_to(site).as_posix(): {
                "sha256": hashlib.sha256(place.read_bytes()).hexdigest(),
                "size_bytes": place.stat().st_size,
            }
            for place in _files(site)
        },
    }
    return Manifest.model_validate({**content, "id": content_id(content)})


def _write_manifest(site: Path, manifest: Manifest) -> None:
    content = manifest.model_dump(mode="json", by_alias=True)
    text = json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n"
    (site / MANIFEST_NAME).write_text(text, "utf-8")


def _software() -> str:
    return f"leukoscope {importlib.metadata.version('leukoscope')}"


def _prove(bundle: Bundle, *, threads: int) -> None:
    """Hold every precision that a network has a file of to the golden set, as a station will.

    Where the other network lacks that precision it runs in FP32. Raises AssemblyError for a precision that
    fails.
    """
    detector, classifier = bundle.manifest.detector, bundle.manifest.classifier
    for precision in sorted({*detector.files, *classifier.files}):
        with (
            detector_engine(
                bundle=bundle, threads=threads, precision=precision if precision in detector.files else "fp32"
            ) as finder,
            classifier_engine(
                bundle=bundle,
                threads=threads,
                precision=precision if precision in classifier.files else "fp32",
            ) as namer,
        ):
            report = check_golden(bundle=bundle, detector=finder, classifier=namer, precision=precision)
        if not report.passed:
            raise AssemblyError(
                f"The bundle does not hold to its own answers: {report}.",
                remedy="Leave that precision out, or quantize with more and better pictures.",
            )


def _files(site: Path) -> list[Path]:
    return sorted(each for each in site.rglob("*") if each.is_file())


def _refuse_licences(sources: tuple[DataSource, ...]) -> None:
    for source in sources:
        if not source.licence.startswith(SHIPPABLE_LICENCES):
            raise AssemblyError(
                f"{source.name} is under {source.licence!r}: nothing trained on it may be shipped.",
                remedy=f"Train without it; licences that allow it: {', '.join(SHIPPABLE_LICENCES)}.",
            )


def _refuse_occupied(out: Path) -> None:
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise AssemblyError(f"{out} is not a directory.", remedy="Name a directory for the bundle.")
    if out.is_dir() and any(out.iterdir()) and not (out / MANIFEST_NAME).is_file():
        raise AssemblyError(
            f"{out} holds other files and no bundle.",
            remedy="Name an empty directory, a new one, or a bundle to replace.",
        )


def _refuse_size(site: Path, max_bytes: int) -> None:
    sizes = {each.relative_to(site).as_posix(): each.stat().st_size for each in _files(site)}
    if (total := sum(sizes.values())) > max_bytes:
        largest = sorted(sizes, key=lambda each: -sizes[each])[:3]
        raise AssemblyError(
            f"The bundle would be {total / 1e6:.2f} MB; {max_bytes / 1e6:.2f} MB are allowed. Its largest "
            f"files: {', '.join(f'{each} {sizes[each] / 1e6:.2f} MB' for each in largest)}.",
            remedy="Leave out a precision, or train smaller networks.",
        )
