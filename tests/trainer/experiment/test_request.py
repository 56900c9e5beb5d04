import pytest

from tests.trainer.experiment import tiny
from trainer.errors import RecipeError, RunError
from trainer.experiment.request import REQUEST, Request


@pytest.fixture
def recipe_file(tmp_path):
    return tiny.recipe(
        tmp_path,
        tiny.experiment("short"),
        tiny.experiment("long", '"training.epochs" = 20'),
        rest='[small]\ndiffers = "fewer epochs"\nepochs_share = 0.1\nset = { "training.batch" = 4 }\n',
    )


def asked(recipe_file, **options) -> Request:
    return tiny.request(recipe_file, recipe_file.parent / "data", **options)


def test_a_saved_request_is_read_back_as_it_was(tmp_path, recipe_file):
    request = asked(
        recipe_file,
        protocol="published",
        changes={"network.maps": (2, 4), "training.rate": 0.5},
        classes={"well": ("a",), "ill": ("b", "c")},
        at_most=7,
        keep_networks=True,
    )
    request.save(tmp_path / "out")
    found = Request.load(tmp_path / "out")
    assert found.model_dump(mode="json") == request.model_dump(mode="json")
    request.save(tmp_path / "out")
    found.save(tmp_path / "out")
    assert sorted(each.name for each in (tmp_path / "out").iterdir()) == [REQUEST]


def test_another_request_for_the_same_folder_is_refused_by_the_names_of_what_differs(tmp_path, recipe_file):
    asked(recipe_file).save(tmp_path)
    before = (tmp_path / REQUEST).read_bytes()
    with pytest.raises(RunError, match=r"begun with another request \(protocol, at_most differ\)") as caught:
        asked(recipe_file, protocol="published", at_most=3).save(tmp_path)
    assert "--out" in str(caught.value)
    assert (tmp_path / REQUEST).read_bytes() == before


@pytest.mark.parametrize("content", [None, b"{", b'{"recipe": "tiny"}'], ids=["none", "torn", "other"])
def test_a_folder_without_a_whole_request_is_refused_by_name(tmp_path, content):
    if content is not None:
        (tmp_path / REQUEST).write_bytes(content)
    with pytest.raises(RunError, match=r"request\.json cannot be read"):
        Request.load(tmp_path)


def test_files_are_found_from_any_working_folder_and_names_stay_names(tmp_path, recipe_file, monkeypatch):
    monkeypatch.chdir(tmp_path)
    request = Request(recipe=recipe_file.name, data="data", weights="kept/weights.pt")
    assert request.recipe == str(recipe_file)
    assert request.data == tmp_path / "data"
    assert request.weights == str(tmp_path / "kept" / "weights.pt")
    by_name = Request(recipe="loey-2020", data="data", weights="IMAGENET1K_V1")
    assert (by_name.recipe, by_name.weights) == ("loey-2020", "IMAGENET1K_V1")


def test_what_a_person_changes_weighs_more_than_the_small_size_and_this_more_than_the_recipe(recipe_file):
    assert asked(recipe_file).resolved("long").training.epochs == 20
    small = asked(recipe_file, small=True).resolved("long").training
    assert (small.epochs, small.batch) == (2, 4)
    changed = asked(recipe_file, small=True, changes={"training.epochs": 3}).resolved("long").training
    assert (changed.epochs, changed.batch) == (3, 4)


def test_an_unknown_experiment_is_refused_with_those_that_there_are(recipe_file):
    with pytest.raises(RecipeError, match=r"no experiment 'longer'") as caught:
        asked(recipe_file).resolved("longer")
    assert "short, long" in str(caught.value)


def test_labels_of_ones_own_take_the_place_of_the_recipes_and_of_its_stand_ins(recipe_file):
    request = asked(recipe_file, classes={"well": ("Segmented",), "ill": ("Blasts", "early")})
    task = request.task(request.resolved("short"))
    # The recipe numbers the classes, whatever order they were given in.
    assert list(task.classes) == ["ill", "well"]
    assert task.class_of("blasts", format="pbc-aml") == "ill"
    assert task.class_of("segmented") == "well"
    assert task.class_of("normal") is None
    assert task.class_of("neutrophil", format="pbc-aml") is None
    assert task.positive == "ill"


def test_a_mapping_to_other_classes_is_refused_with_the_classes_of_the_task(recipe_file):
    request = asked(recipe_file, classes={"ill": ("a",), "healthy": ("b",)})
    with pytest.raises(RecipeError, match=r"names healthy, ill; 'ill against well' tells apart ill, well"):
        request.task(request.resolved("short"))


def test_a_label_of_two_classes_is_refused_by_name(recipe_file):
    request = asked(recipe_file, classes={"ill": ("a", "b"), "well": ("b",)})
    with pytest.raises(RecipeError, match=r"--class cannot be used: b would belong to two classes"):
        request.task(request.resolved("short"))


def test_a_question_that_was_not_asked_leaves_no_trace_so_older_folders_go_on(tmp_path, recipe_file):
    plain = tiny.request(recipe_file, tmp_path)
    assert not {"hold_out", "laboratory"} & plain.model_dump(mode="json").keys()
    asked = plain.model_copy(update={"hold_out": "laboratory"})
    assert Request.model_validate(asked.model_dump(mode="json")) == asked
    plain.save(tmp_path / "out")
    with pytest.raises(RunError, match=r"another request \(hold_out differ\)"):
        asked.save(tmp_path / "out")
