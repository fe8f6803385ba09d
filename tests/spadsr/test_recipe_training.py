"""Training recipes: shipped ones, overrides, and what is refused before anything starts."""

from pathlib import Path

import pytest
import yaml
from small_run import quiet

from noise_model.config_files import shipped_configs
from noise_model.errors import InputError
from spadsr.training.pair_source import pair_source
from spadsr.training.recipe import TrainingRecipe, load_recipe

SHIPPED = sorted(path.stem for path in (shipped_configs() / "train").glob("*.yaml"))


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_recipes_by_name_and_by_path(name: str) -> None:
    by_path = load_recipe(shipped_configs() / "train" / f"{name}.yaml", [])
    assert load_recipe(name, []) == by_path != TrainingRecipe()


def test_without_a_file_it_is_the_default() -> None:
    assert {"smoke", "photos", "gpu"} <= set(SHIPPED)
    assert load_recipe(None, []) == TrainingRecipe()


def test_overrides(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("steps: 10\nnetwork: {detail: 12}\n")
    recipe = load_recipe(
        path, ["steps=20", "network.attention=3", "scenes.photos=my photos", "bfloat16=false", "scale_shares={2: 1}"]
    )
    assert (recipe.steps, recipe.network.detail, recipe.network.attention) == (20, 12, 3)
    assert (recipe.scenes.photos, recipe.bfloat16, recipe.scale_shares) == (Path("my photos"), False, {2: 1.0})


@pytest.mark.parametrize("name", ["2024", "no", "a: b", "[x] y", "pics #2", "C:\\pictures", "{x}", "'x'", "a\udce9"])
@pytest.mark.parametrize("key", ["scenes.photos", "simulated", "start", "teacher"])
def test_names_of_files_and_folders_are_taken_as_they_are(key: str, name: str) -> None:
    recipe = load_recipe(None, [f"{key}={name}"])
    assert (recipe.scenes.photos if key == "scenes.photos" else getattr(recipe, key)) == Path(name)
    assert load_recipe(None, [f"{key}=null"]) == TrainingRecipe()


def test_names_may_begin_at_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ada")
    monkeypatch.setenv("USERPROFILE", "/home/ada")
    assert load_recipe(None, ["scenes.photos=~/my photos"]).scenes.photos == Path("/home/ada/my photos")


@pytest.mark.parametrize("batch", [1, 5, 48])
def test_every_capture_has_an_exposure_of_its_own_unless_said_otherwise(batch: int) -> None:
    assert load_recipe(None, [f"batch={batch}"]).exposures == batch


@pytest.mark.parametrize("name", ["photos", "tiny", "tune", "gpu"])
def test_recipes_for_photographs_want_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"^photos: no such folder; say with scenes.photos=FOLDER"):
        pair_source(load_recipe(name, []), quiet)


def test_what_a_file_says_wrong_is_said_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("stpes: 3\n")
    with pytest.raises(InputError, match=r"mine.yaml: not a training recipe: stpes: no such key"):
        load_recipe(tmp_path / "mine.yaml", ["seed=1"])


def test_a_recipe_survives_its_yaml(tmp_path: Path) -> None:
    recipe = load_recipe("smoke", ["scenes.photos=/a b", "scale_shares={4: 0.5, 16: 0.5}", "learning_rate=1e-3"])
    (tmp_path / "kept.yaml").write_text(yaml.safe_dump(recipe.model_dump(mode="json")))
    assert load_recipe(tmp_path / "kept.yaml", []) == recipe


def test_a_kept_recipe_finds_its_folders_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    kept = load_recipe("smoke", ["scenes.photos=my photos", "simulated=set"]).kept()
    (tmp_path / "kept.yaml").write_text(yaml.safe_dump(kept))
    monkeypatch.chdir("/")
    found = load_recipe(tmp_path / "kept.yaml", [])
    assert (found.scenes.photos, found.simulated) == (tmp_path / "my photos", tmp_path / "set")


def test_stages_take_their_shares_of_the_steps() -> None:
    stages = [{"share": 1, "native": 32}, {"share": 3, "native": 64, "pairs": {"crosstalk": [0.0]}}]
    recipe = TrainingRecipe.model_validate({"steps": 8, "native": 16, "stages": stages})
    assert [recipe.of_step(step).native for step in range(9)] == [32] * 2 + [64] * 7
    assert [recipe.of_step(step).pairs.crosstalk == (0.0,) for step in (1, 2)] == [False, True]
    assert recipe.of_step(5).pairs.pde_spread == recipe.pairs.pde_spread
    assert TrainingRecipe().of_step(3) == TrainingRecipe()


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["steps"], "overrides are written key=value"),
        (["=3"], "overrides are written key=value"),
        (["stpes=3"], r"^stpes=3: .* stpes: no such key; did you mean steps\?$"),
        (["network.depth=3"], "network.*depth: no such key"),
        (["steps=many"], "steps: Input should be a valid integer"),
        (["steps=0"], "greater than 0"),
        (["steps.more=0", "steps=1", "steps.more=2"], "steps is a value"),
        (["steps=[1"], "the value is not YAML"),
        (["native=20"], "multiple of 16"),
        (["stages=[{share: 0}]"], "stages.0.share: Input should be greater than 0"),
        (["stages=[{share: 1, width: 3}]"], "stages.0.width: no such key"),
        (["stages=[{share: 1}, {share: 1, batch: 6}]"], "stages.*exposures: .*batch of 6 cannot be shared out evenly"),
        (["stages=[{share: 1, native: 20}]"], "stages.*native: .*multiple of 16"),
        (["stages=[{share: 1, pairs: {fog: 1}}]"], "stages.*pairs.fog: no such key"),
        (["batch=6", "exposures=4"], "exposures: .*batch of 6 cannot be shared out evenly"),
        (["network.widths=[7, 9]"], "network.*encoder: .*expected 1 or more blocks for each of 2 levels"),
        (["network.widths=[8, 16, 42]"], "network.*heads: .*42 channels are no multiple"),
        (["start="], "start=: no value"),
        (["scenes.photos= "], "no value; give one, or null for none"),
        (["scenes.warpd_share=1"], r"scenes.warpd_share: no such key; did you mean warped_share\?"),
        (["scale_shares={}"], "scale_shares: .*expected shares above 0 of the scales 1, 2, 4, 8, 16"),
        (["scale_shares={3: 1}"], "expected shares above 0 of the scales"),
        (["scale_shares={32: 1}"], "expected shares above 0 of the scales"),
        (["scale_shares={4: 0}"], "expected shares above 0 of the scales"),
        (["network.heads=3"], "network.heads: .*256 channels are no multiple"),
        (["network=3"], "network: Input should be a valid dictionary"),
        (["ema=1"], "less than 1"),
    ],
)
def test_bad_overrides(overrides: list[str], words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        load_recipe(None, overrides)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"steps: [1", "not a readable YAML file"),
        (b"\xff\xfe\x00\x81", "not a readable YAML file"),
        (b"", "expected keys and values, found NoneType"),
        (b"- 1\n- 2\n", "expected keys and values, found list"),
        (b"1: 2\n", "Keys should be strings|1: no such key"),
        (b"scenes:\n  photoes: x\n", r"scenes.photoes: no such key; did you mean photos\?"),
    ],
)
def test_files_that_are_no_recipes(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "bad.yaml"
    path.write_bytes(content)
    with pytest.raises(InputError, match=words) as caught:
        load_recipe(path, [])
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["smok", "no/such.yaml", "."])
def test_a_recipe_that_is_not_there(name: str) -> None:
    with pytest.raises(InputError, match=r"give a training recipe YAML or a shipped one .*smoke") as caught:
        load_recipe(name, [])
    assert str(caught.value).startswith(name)
