from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lgd.cli.parsing import parse
from lgd.config import Config, differences, from_dict, load_config, presets, to_dict, with_defaults, with_values
from lgd.config.checks import REMOVED_FIELDS, RENAMED_FIELDS
from lgd.errors import UserError
from lgd.experiments.run_directory import claim


@pytest.mark.parametrize("name", sorted(presets()))
def test_presets_load_and_round_trip(name: str) -> None:
    config = load_config(name)
    assert from_dict(to_dict(config), name) == config


@pytest.mark.parametrize(
    ("toml", "message"),
    [
        ("[guidance]\nstrenght = 0.3", r"unknown field 'guidance.strenght'; did you mean 'strength'\?"),
        ("sed = 1", r"unknown field 'sed'; did you mean 'seed'\?"),
        ("[guidance]\nstrength = 'high'", "guidance.strength: input should be a valid number or 'auto', not 'high'"),
        ("[guidance]\nstrength = 'auto'\nspace = 'sample'", "guidance.strength: 'auto' works with .* 'noise' only"),
        (
            "[stages]\ncoverage = 'herding'\ncandidates = 1",
            r"stages.candidates \(of a seed set: .*\) must be at least 2",
        ),
        ("seed = 1.5", "seed: input should be a valid integer"),
        ("[stages]\nincrements = 0", "stages.increments: input should be greater than or equal to 1, not 0"),
        ("[stages]\nimages_per_increment = 0", "stages.images_per_increment"),
        ("[stages]\ncandidates = 0", "stages.candidates"),
        ("[guidance]\nwindow = [10, 50]", r"guidance.window: \[10, 50\] does not lie inside the steps 0 to 49"),
        ("[guidance]\nwindow = [30, 20]", "guidance.window"),
        ("[guidance]\nwindow = [1, 2, 3]", "guidance.window"),
        ("[guidance]\nomega = nan", "omega"),
        ("[guidance]\nspace = 'image'", "guidance.space: input should be 'noise' or 'sample', not 'image'"),
        ("[guidance]\nspace = 'sample'\n[sampling]\nscheduler = 'ddim'", "'sample' works with .* 'ddpm' only"),
        ("[sampling]\nsteps = 1001", "sampling.steps: 1001 is more than"),
        ("seed = 1979-05-27", "not JSON serializable"),
        ("guidance = 3", "guidance"),
        ("[guidance", "not TOML"),
    ],
)
def test_a_wrong_file_is_explained_in_one_line(toml: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(toml)
    with pytest.raises(UserError, match=message) as caught:
        load_config(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_unknown_preset_suggests_the_nearest() -> None:
    with pytest.raises(UserError, match=r"unknown preset 'digts'; did you mean 'digits'\?"):
        load_config("digts")


@pytest.mark.parametrize("text", ["{", "[1]", '"x"', '{"seed": -1}'])
def test_a_wrong_json_file_is_explained_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(UserError, match=r"not JSON|not a configuration|seed") as caught:
        load_config(str(path))
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "big.toml").write_text("#" * (2**20 + 1))
    with pytest.raises(UserError, match="larger than"):
        load_config(str(tmp_path / "big.toml"))


def test_differences_name_fields_and_forgive_the_machine() -> None:
    a = to_dict(Config())
    b = to_dict(with_values(Config(), {"guidance.omega": 0.5, "compute.workers": 7}))
    assert differences(a, b) == ["guidance.omega (1.0 there, 0.5 here)"]
    without = {name: part for name, part in a.items() if name != "guidance"}
    assert differences(a, without) == ["guidance (not used here)"]


def test_with_values_rejects_what_does_not_exist() -> None:
    with pytest.raises(UserError, match="no field 'omga'; did you mean 'omega'"):
        with_values(Config(), {"guidance.omga": 1})


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)
SECTIONS = st.sampled_from(["seed", "method", "guidance", "stages", "generator", "name", "other"])
FIELDS = st.sampled_from(["strength", "window", "increments", "steps", "x"])


@given(st.dictionaries(SECTIONS, JSON | st.dictionaries(FIELDS, JSON)))
def test_any_input_is_a_config_or_a_user_error(values: dict[str, object]) -> None:
    try:
        config = from_dict(values, "fuzz")
    except UserError:
        return
    assert from_dict(to_dict(config), "again") == config


def test_what_an_earlier_version_wrote_is_compared_at_the_defaults() -> None:
    """A directory made before a field existed goes on, unless the field is set to something else."""
    now = to_dict(load_config("digits"))
    before = {name: dict(part) if isinstance(part, dict) else part for name, part in now.items() if name != "modes"}
    del before["generator"]["min_snr"]
    assert differences(with_defaults(before, now), now) == []
    changed = to_dict(with_values(load_config("digits"), {"generator.min_snr": 5.0, "modes.stop": 30}))
    assert differences(with_defaults(before, changed), changed) == [
        "generator.min_snr (0.0 there, 5.0 here)",
        "modes.stop (25 there, 30 here)",
    ]
    assert with_defaults({"seed": 3}, ["generator"])["generator"] == to_dict(Config())["generator"]
    assert "modes" not in with_defaults({"seed": 3}, ["generator"])


@pytest.mark.parametrize("name", ["imagenette", "imagewoof", "imagenet1k"])
def test_the_papers_settings(name: str) -> None:
    config = load_config(name)
    assert config.generator.source == "pretrained:facebook/DiT-XL-2-256"
    sampling, guidance, stages = config.sampling, config.guidance, config.stages
    assert (sampling.scheduler, sampling.steps, sampling.classifier_free_scale, sampling.guided_channels) == (
        "ddpm", 50, 4.0, 3,
    )  # fmt: skip
    assert (guidance.strength, guidance.omega, guidance.deviation, guidance.space) == (15.0, 0.5, 50.0, "sample")
    assert guidance.window == (10, 45)
    assert (stages.images_per_increment, stages.candidates, stages.selection) == (10, 3, "score")
    assert (stages.seed_method, config.influence.strength, config.influence.deviation) == ("igd", 5.0, 120.0)
    assert config.learner.architecture == config.reference.architecture == "convnet"
    assert config.learner.depth == config.reference.depth == 6


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("dataset.judge_on", "validation", "dataset.judge_on was renamed; use dataset.eval_split"),
        ("stages.halving", 5, "stages.halving was removed: .* no more often than chance; leave it out"),
    ],
)
def test_a_field_of_an_earlier_version_is_refused_with_what_to_do(
    name: str, value: object, message: str, tmp_path: Path
) -> None:
    """In TOML, JSON, dotted names and flags."""
    section, key = name.split(".")
    (tmp_path / "old.toml").write_text(f"[{section}]\n{key} = {value!r}\n")
    (tmp_path / "old.json").write_text(json.dumps({section: {key: value}}))
    for path in (tmp_path / "old.toml", tmp_path / "old.json"):
        with pytest.raises(UserError, match=f"^{path}: {message}"):
            load_config(str(path))
    with pytest.raises(UserError, match=message):
        with_values(Config(), {name: value})
    for flag in (f"--{name}={value}", f"--{name.replace('_', '-')}={value}"):
        with pytest.raises(UserError, match=message):
            parse(Config, "lgd distill digits", [flag])


def test_a_run_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    """Renamed fields count by their new name; a removed one counts only where it was on."""
    now = to_dict(load_config("digits"))
    old = to_dict(load_config("digits"))
    old["dataset"]["judge_on"] = old["dataset"].pop("eval_split")
    old["stages"]["halving"] = 0
    before = json.dumps(old)
    (tmp_path / "config.json").write_text(before)
    claim(tmp_path / "config.json", now)
    assert differences(with_defaults(old, now), now) == []
    assert json.dumps(old) == before
    old["dataset"]["judge_on"], old["stages"]["halving"] = "validation", 5
    assert differences(with_defaults(old, now), now) == [
        "dataset.eval_split ('validation' there, 'test' here)",
        "stages.halving (5 there, None here)",
    ]
    assert with_defaults({"seed": 3, "stages": 7}, ["seed"]) == {"seed": 3, "stages": 7}


def test_the_changelog_lists_former_fields() -> None:
    text = (Path(__file__).parents[2] / "CHANGELOG.md").read_text()
    renamed = [f"| `{old}` | `{new}` |" for old, new in RENAMED_FIELDS.items()]
    for row in [*renamed, *(f"| `{name}` | removed |" for name in REMOVED_FIELDS)]:
        assert row in text
