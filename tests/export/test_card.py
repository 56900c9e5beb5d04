"""The card says what a person must know before trusting a number."""

from __future__ import annotations

from edge.contract.manifest import DataSource, Metric, Quantization
from export.card import model_card
from export.testing import classifier_facts, detector_facts

LMU = DataSource(
    name="AML-Cytomorphology_LMU", licence="CC BY 3.0", attribution="Matek et al. 2019", samples=600
)


def card(**changes: object) -> str:
    facts = classifier_facts().model_copy(update=changes)
    return model_card(
        name="starter",
        release=1,
        software="leukoscope 0.1.0",
        detector=detector_facts(),
        classifier=facts,
        sources=(LMU, *facts.sources),
        sizes_bytes={"detector.onnx": 5_400_000, "classifier.onnx": 6_100_000},
    )


def test_it_is_not_for_diagnosis_before_anything_else() -> None:
    assert "Not for diagnosis" in card().splitlines()[2]


def test_every_source_has_its_licence_and_attribution() -> None:
    assert "| AML-Cytomorphology_LMU | 600 | CC BY 3.0 | Matek et al. 2019 |" in card()


def test_every_figure_has_its_interval_samples_groups_and_origin() -> None:
    row = (
        "| Balanced accuracy | 0.950 | 0.900 to 0.990 | 120 in 12 groups "
        "| block of neighbouring file names | generated smears |"
    )
    assert row in card()


def test_a_figure_without_an_interval_says_so() -> None:
    bare = Metric(
        name="Probe of the laboratory",
        value=0.7,
        samples=40,
        grouped_by="not grouped",
        measured_on="laboratory left out: LMU",
    )
    row = "| Probe of the laboratory | 0.700 | not known | 40 | not grouped | laboratory left out: LMU |"
    assert row in card(metrics=(bare,))


def test_limits_split_recipe_and_the_making_are_told() -> None:
    text = card(limits=("Blasts of lymphoid lineage were never seen.",))
    assert "- Blasts of lymphoid lineage were never seen." in text
    assert "Split: by seed of the virtual slide" in text
    assert "make starter-bundle" in text
    assert "Trained: None: its weights are written by hand." in text


def test_thresholds_stand_with_their_operating_points() -> None:
    text = card()
    assert "| WBC | 0.300 | best F1 |" in text
    assert "below 0.5 is doubtful (half of the errors refused)" in text


def test_the_confusion_is_a_table_of_the_classes() -> None:
    assert "|  | neutrophil | lymphocyte | blast |" in card()
    assert "| blast | 2 | 1 | 37 |" in card()


def test_a_bar_in_a_name_does_not_break_the_table() -> None:
    odd = DataSource(name="A|B\nC", licence="MIT", attribution="x", samples=1)
    text = model_card(
        name="n",
        release=1,
        software="s",
        detector=detector_facts(),
        classifier=classifier_facts(),
        sources=(odd,),
        sizes_bytes={},
    )
    assert "| A\\|B C | 1 | MIT | x |" in text


def test_what_eight_bits_cost_stands_in_the_card() -> None:
    made = Quantization(
        method="ranges by percentile",
        calibration_sha256="0" * 64,
        calibration_pictures=80,
        calibrated_on="training frames",
        layers=62,
        kept_float=("stem",),
        cost=(detector_facts().metrics[0].model_copy(update={"name": "mAP50 lost by INT8", "value": 0.002}),),
    )
    facts = {"detector": detector_facts(), "classifier": classifier_facts()}
    told = {"name": "probe", "release": 1, "software": "leukoscope 0", "sources": (), "sizes_bytes": {}}
    text = model_card(**facts, **told, int8={"detector": made})
    assert "The detector: 61 of 62 layers, ranges by percentile on 80 pictures (training frames)" in text
    assert "| mAP50 lost by INT8 | 0.002 |" in text
    assert "In eight bits" not in model_card(**facts, **told)
