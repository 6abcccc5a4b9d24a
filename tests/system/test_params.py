import copy
import io
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError
from ruamel.yaml import YAML

from tintlab.system import params as params_module
from tintlab.system.errors import TintlabError
from tintlab.system.params import Params, load_params
from tintlab.system.sections import flatten

YAML_READER = YAML(typ="safe")


PRESETS = sorted(path.stem for path in (Path(__file__).parents[2] / "presets").glob("*.yaml"))


@pytest.fixture(scope="module")
def defaults(repository: Path) -> dict[str, Any]:
    content: dict[str, Any] = YAML_READER.load(repository / "params.yaml")
    return content


def changed(defaults: dict[str, Any], key: str, value: Any) -> dict[str, Any]:
    content = copy.deepcopy(defaults)
    section = content
    *parents, last = key.split(".")
    for parent in parents:
        section = section[parent]
    section[last] = value
    return content


def load(content: Any, folder: Path) -> Params:
    with (folder / "params.yaml").open("w") as file:
        YAML(typ="safe").dump(content, file)
    return load_params(folder / "params.yaml")


def fault(content: Any, folder: Path) -> str:
    with pytest.raises(TintlabError) as caught:
        load(content, folder)
    return one_line(caught.value, folder)


def fault_of_text(text: bytes, folder: Path) -> str:
    (folder / "params.yaml").write_bytes(text)
    with pytest.raises(TintlabError) as caught:
        load_params(folder / "params.yaml")
    return one_line(caught.value, folder)


def one_line(error: TintlabError, folder: Path) -> str:
    message = str(error)
    assert "\n" not in message
    assert message.startswith(str(folder / "params.yaml"))
    return message.removeprefix(str(folder / "params.yaml"))


# --- what holds


def test_the_repository_s_params_load(default_params: Params, defaults: dict[str, Any]) -> None:
    assert default_params.train.batch_size == defaults["train"]["batch_size"]
    assert default_params.validate_.min_side == defaults["validate"]["min_side"]
    assert default_params.train.betas == (0.5, 0.999)


def test_the_path_defaults_to_the_working_directory(
    repository: Path, default_params: Params, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(repository)
    assert load_params() == default_params
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TintlabError, match=r"params\.yaml is missing: run this in a project"):
        load_params()


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_only_set_known_keys_to_good_values(
    preset: str, repository: Path, defaults: dict[str, Any], tmp_path: Path
) -> None:
    overrides = YAML_READER.load(repository / "presets" / f"{preset}.yaml")
    assert load_params(repository / "params.yaml", overrides)
    content = copy.deepcopy(defaults)
    for section, keys in overrides.items():
        for key, value in keys.items():
            assert key in content[section], f"{section}.{key} is not in params.yaml"
            content[section][key] = value
    assert load(content, tmp_path)


@pytest.mark.parametrize("text", ["2e-4", "2.0e-4", "0.0002", "2E-04", "+.0002"])
def test_every_spelling_of_a_number_is_a_float(text: str, defaults: dict[str, Any], tmp_path: Path) -> None:
    stream = io.StringIO()
    YAML(typ="safe").dump(changed(defaults, "train.learning_rate", "PLACE"), stream)
    (tmp_path / "params.yaml").write_text(stream.getvalue().replace("PLACE", text))
    rate = load_params(tmp_path / "params.yaml").train.learning_rate
    assert isinstance(rate, float)
    assert rate == 0.0002


def test_whole_numbers_do_for_floats_and_become_floats(default_params: Params) -> None:
    assert isinstance(default_params.train.lambda_l1, float)
    assert isinstance(default_params.photos.max_megapixels, float)


def test_sources_and_limits(defaults: dict[str, Any], tmp_path: Path) -> None:
    sources = [{"path": "a.zip", "sha256": "0" * 64}, {"path": "b"}]
    content = changed(changed(defaults, "fetch.sources", sources), "fetch.limit", 5)
    fetch = load(content, tmp_path).fetch
    assert [(source.path, source.sha256) for source in fetch.sources] == [("a.zip", "0" * 64), ("b", None)]
    assert fetch.limit == 5


def test_params_are_immutable(default_params: Params) -> None:
    with pytest.raises(ValidationError):
        default_params.train.batch_size = 1  # type: ignore[misc]


def test_flatten_names_every_leaf_as_params_yaml_does(
    default_params: Params, defaults: dict[str, Any]
) -> None:
    expected: dict[str, Any] = {}
    for section, keys in defaults.items():
        for key, value in keys.items():
            inner = value if isinstance(value, dict) else {"": value}
            expected |= {f"{section}.{key}.{name}".rstrip("."): leaf for name, leaf in inner.items()}
    assert flatten(default_params) == expected
    assert flatten(default_params.split)["twin_distance"] == defaults["split"]["twin_distance"]


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"train.rehearsal": 0.5}, ": train: rehearsal 0.5 needs focus"),
        (
            {"train.rehearsal": 0.01, "train.focus": ["reef"]},
            ": train: rehearsal 0.01 needs a larger batch_size",
        ),
        ({"train.focus": []}, ": train.focus: "),
        (
            {"promotion.colourfulness": [1.1, 0.5]},
            ": promotion: colourfulness [1.1, 0.5]: the least comes first",
        ),
        ({"promotion.min_gain": -0.1}, ": promotion.min_gain: "),
    ],
)
def test_mixtures_and_rules_that_can_t_be(
    changes: dict[str, Any], told: str, defaults: dict[str, Any], tmp_path: Path
) -> None:
    content = defaults
    for key, value in changes.items():
        content = changed(content, key, value)
    assert fault(content, tmp_path).startswith(told)


def test_a_batch_rehearses_its_share_and_learns_at_least_one(default_params: Params) -> None:
    train = default_params.train.model_copy(update={"batch_size": 8, "focus": ("reef",)})
    rehearsed = {share: train.model_copy(update={"rehearsal": share}).rehearsed for share in (0, 0.25, 0.99)}
    assert rehearsed == {0: 0, 0.25: 2, 0.99: 7}


def test_every_key_of_params_yaml_is_explained() -> None:
    sections = [value for value in vars(params_module).values() if isinstance(value, type)]
    for section in sections:
        if issubclass(section, params_module.Section) and section is not Params:
            assert section.__doc__
            for name, field in section.model_fields.items():
                assert field.description, f"{section.__name__}.{name} has no docstring"


def test_the_order_of_keys_in_params_yaml_is_that_of_the_code(defaults: dict[str, Any]) -> None:
    sections = {field.alias or name: field.annotation for name, field in Params.model_fields.items()}
    assert list(defaults) == list(sections)
    for name, section in sections.items():
        assert isinstance(section, type)
        assert issubclass(section, BaseModel)
        assert list(defaults[name]) == list(section.model_fields)


# --- what is refused, in one line that names the key


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("train.batch_size", -1, ": train.batch_size: Input should be greater than or equal to 1, got -1"),
        ("train.batch_size", 0, ": train.batch_size: Input should be greater than or equal to 1, got 0"),
        ("train.batch_size", 2.5, ": train.batch_size: Input should be a valid integer, got 2.5"),
        ("train.batch_size", True, ": train.batch_size: Input should be a valid integer, got True"),
        ("train.batch_size", "16", ": train.batch_size: Input should be a valid integer, got '16'"),
        ("train.batch_size", None, ": train.batch_size: Input should be a valid integer, got None"),
        ("train.batch_size", [16], ": train.batch_size: Input should be a valid integer, got [16]"),
        ("train.learning_rate", 0, ": train.learning_rate: Input should be greater than 0, got 0"),
        ("train.learning_rate", "fast", ": train.learning_rate: Input should be a valid number, got 'fast'"),
        ("train.learning_rate", float("inf"), ": train.learning_rate: Input should be a finite number, got inf"),
        ("train.lambda_l1", float("nan"), ": train.lambda_l1: Input should be a finite number, got nan"),
        ("train.betas", [0.5], ": train.betas.1 is missing"),
        ("train.betas", [0.5, 1.0], ": train.betas.1: Input should be less than 1, got 1.0"),
        ("train.betas", [0.5, "0.9"], ": train.betas.1: Input should be a valid number, got '0.9'"),
        ("train.betas", 0.5, ": train.betas: Input should be a valid tuple, got 0.5"),
        ("train.dropout", 1, ": train.dropout: Input should be less than 1, got 1"),
        ("train.image_size", 100, ": train.image_size: Input should be a multiple of 32, got 100"),
        ("train.seed", 2**32, ": train.seed: Input should be less than 4294967296, got 4294967296"),
        ("train.device", "gpu", ": train.device: Input should be 'auto', 'cpu', 'cuda' or 'mps', got 'gpu'"),
        ("fetch.starter", "yes", ": fetch.starter: Input should be a valid boolean, got 'yes'"),
        ("fetch.starter", 1, ": fetch.starter: Input should be a valid boolean, got 1"),
        ("fetch.limit", 0, ": fetch.limit: Input should be greater than or equal to 1, got 0"),
        ("fetch.salt", 7, ": fetch.salt: Input should be a valid string, got 7"),
        ("fetch.sources", "a.zip", ": fetch.sources: Input should be a valid tuple, got 'a.zip'"),
        ("fetch.sources", ["a.zip"], ": fetch.sources.0 must be a section of keys, got 'a.zip'"),
        ("fetch.sources", [{"path": ""}], ": fetch.sources.0.path: String should have at least 1 character, got ''"),  # noqa: E501
        ("fetch.sources", [{"path": "a"}, {"sha256": "0" * 64}], ": fetch.sources.1.path is missing"),
        ("split.test", 1.5, ": split.test: Input should be less than or equal to 1, got 1.5"),
        ("split.val", -0.1, ": split.val: Input should be greater than or equal to 0, got -0.1"),
        ("split.twin_distance", 65, ": split.twin_distance: Input should be less than or equal to 64, got 65"),
        ("photos.max_megapixels", 0, ": photos.max_megapixels: Input should be greater than 0, got 0"),
        ("validate.max_aspect", 0, ": validate.max_aspect: Input should be greater than or equal to 1, got 0"),
        ("validate.min_side", "big", ": validate.min_side: Input should be a valid integer, got 'big'"),
        ("train", None, ": train must be a section of keys, got None"),
        ("train", [1, 2], ": train must be a section of keys, got [1, 2]"),
        ("split", 0.2, ": split must be a section of keys, got 0.2"),
    ],
)  # fmt: skip
def test_wrong_values(key: str, value: Any, message: str, defaults: dict[str, Any], tmp_path: Path) -> None:
    assert fault(changed(defaults, key, value), tmp_path) == message


@pytest.mark.parametrize("digits", ["abc", "0" * 63, "G" * 64, "A" * 64])
def test_a_sha256_that_is_none(digits: str, defaults: dict[str, Any], tmp_path: Path) -> None:
    message = fault(changed(defaults, "fetch.sources", [{"path": "a", "sha256": digits}]), tmp_path)
    assert message.startswith(": fetch.sources.0.sha256: ")
    assert digits[:40] in message


@pytest.mark.parametrize(
    ("right", "wrong"),
    [
        ("train.lambda_l1", "train.lamda_l1"),
        ("train.batch_size", "train.batchsize"),
        ("validate.min_contrast", "validate.min_contrst"),
        ("validate", "valdate"),
        ("train", "training"),
    ],
)
def test_misspelt_keys_and_sections(right: str, wrong: str, defaults: dict[str, Any], tmp_path: Path) -> None:
    content = copy.deepcopy(defaults)
    *parent, old = right.split(".")
    section = content[parent[0]] if parent else content
    section[wrong.removeprefix("train.").removeprefix("validate.")] = section.pop(old)
    assert fault(content, tmp_path) == f": unknown key {wrong!r}: did you mean {old!r}? (and 1 more)"


def test_keys_that_resemble_nothing(defaults: dict[str, Any], tmp_path: Path) -> None:
    message = fault(changed(defaults, "convert.xyz", 1), tmp_path)
    assert message == ": unknown key 'convert.xyz'; known are image_size, max_squares, shard_megabytes"
    message = fault(changed(defaults, "fetch.sources", [{"path": "a", "hash": "b"}]), tmp_path)
    assert message == ": unknown key 'fetch.sources.0.hash'; known are path, sha256, follow_links"


def test_missing_keys_and_sections(defaults: dict[str, Any], tmp_path: Path) -> None:
    content = copy.deepcopy(defaults)
    del content["train"]["epochs"]
    assert fault(content, tmp_path) == ": train.epochs is missing"
    del content["train"]
    assert fault(content, tmp_path) == ": train is missing"


def test_several_faults_are_counted(defaults: dict[str, Any], tmp_path: Path) -> None:
    content = changed(changed(defaults, "train.epochs", 0), "train.batch_size", 0)
    assert fault(content, tmp_path).endswith("got 0 (and 1 more)")


@pytest.mark.parametrize(("key", "value"), [("train.image_size", 512), ("train.crop", [64, 512])])
def test_crops_larger_than_squares(key: str, value: Any, defaults: dict[str, Any], tmp_path: Path) -> None:
    size = defaults["convert"]["image_size"]
    message = fault(changed(defaults, key, value), tmp_path)
    assert message.startswith(
        f": train.crop and train.image_size reach 512 px, convert.image_size is {size}: "
    )
    content = changed(changed(defaults, key, value), "convert.image_size", 512)
    assert load(content, tmp_path).convert.image_size == 512


def test_crops_and_phases_that_can_t_be(defaults: dict[str, Any], tmp_path: Path) -> None:
    message = fault(changed(defaults, "train.crop", [128, 64]), tmp_path)
    assert message == ": train: crop [128, 64]: the smallest side comes first"
    epochs = defaults["train"]["epochs"]
    message = fault(changed(defaults, "train.l1_epochs", epochs + 1), tmp_path)
    lengths = f"{epochs + 1} + {defaults['train']['guidance_epochs']} + {defaults['train']['variety_epochs']}"
    phases = "l1_epochs + guidance_epochs + variety_epochs"
    assert message == f": train: {phases}, {lengths}, are more than epochs {epochs}"
    left = epochs - defaults["train"]["guidance_epochs"] - defaults["train"]["variety_epochs"]
    assert load(changed(defaults, "train.l1_epochs", left), tmp_path)
    assert "go together" in fault(changed(defaults, "train.z_dim", 0), tmp_path)
    assert "go together" in fault(changed(defaults, "train.variety_epochs", 0), tmp_path)
    plain = changed(changed(defaults, "train.hints", False), "train.guidance_epochs", 0)
    unet = changed(plain, "train.generator", "unet")
    assert "takes no noise" in fault(unet, tmp_path)


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.9, 0.2), (1, 0)])
def test_shares_that_leave_nothing_to_train_on(
    shares: tuple[float, float], defaults: dict[str, Any], tmp_path: Path
) -> None:
    content = changed(changed(defaults, "split.test", shares[0]), "split.val", shares[1])
    assert fault(content, tmp_path) == (
        ": split: test and val leave no photographs to train on: make their sum less than 1"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"train: [1, 2", " is not readable YAML in line 1: "),
        (b"train:\n  size: 1\n size: 2\n", " is not readable YAML in line 3: "),
        (b"train:\n\tsize: 1\n", " is not readable YAML in line 2: "),
        (b"split: 1\nsplit: 2\n", " is not readable YAML in line 2: found duplicate key"),
        (b"train: !!python/object:os.system {}\n", " is not readable YAML in line 1: could not determine"),
        (b"train: *nowhere\n", " is not readable YAML in line 1: found undefined alias"),
        (b"\xff\xfe\xfa", " is not readable YAML: "),
        (b"train: \x00\n", " is not readable YAML: "),
        (b"train: 2024-13-45\n", " is not readable YAML: month must be"),
        (b"", ": the file must be a section of keys, got None"),
        (b"- 1\n- 2\n", ": the file must be a section of keys, got [1, 2]"),
        (b"just text", ": the file must be a section of keys, got 'just text'"),
        (b"1: 2\n", ": "),
    ],
)
def test_files_that_are_no_params(text: bytes, message: str, tmp_path: Path) -> None:
    assert fault_of_text(text, tmp_path).startswith(message)


def test_the_preset_scratch_starts_from_nothing(repository: Path) -> None:
    """Its weights stay the same, byte for byte, whatever the default becomes."""
    yaml = YAML(typ="safe")
    params = yaml.load(repository / "params.yaml")
    train = params["train"] | yaml.load(repository / "presets" / "scratch.yaml")["train"]
    recipe = {
        "init_from": None, "hints": False, "guidance_epochs": 0, "z_dim": 16, "channels": 64, "epochs": 14,
        "iterations_per_epoch": 50, "l1_epochs": 8, "variety_epochs": 3, "gan_warmup": 70, "batch_size": 16,
        "crop": [96, 240], "dropout": 0.1, "context_dropout": 0.3, "lambda_l1": 100, "lambda_perceptual": 15,
        "rebalancing": 0, "lambda_kernel": 0, "category_power": 1,
        "l1_learning_rate": 0.001, "learning_rate": 0.0003,
        "decay": 0.5, "weight_decay": 0.01, "ema_decay": 0.99, "saturation": 1.15, "working_size": 224,
        "image_size": 128, "threads": 2, "seed": 0, "contrast": 0.15, "brightness": 5, "flip_average": True,
    }  # fmt: skip
    assert {name: train[name] for name in recipe} == recipe


@pytest.mark.parametrize(
    "name", ["scratch", "smoke", "thesis", "plain-unet", "base", "base-continued", "fine-tune", "large"]
)
def test_a_preset_gives_valid_parameters(repository: Path, tmp_path: Path, name: str) -> None:
    yaml = YAML(typ="safe")
    params = yaml.load(repository / "params.yaml")
    for section, keys in yaml.load(repository / "presets" / f"{name}.yaml").items():
        params[section] |= keys
    yaml.dump(params, tmp_path / "params.yaml")
    start = load_params(tmp_path / "params.yaml").train.init_from
    assert start == {
        "base-continued": "models/base-first",
        "fine-tune": "models:/tintlab@champion",
        "large": "base",
    }.get(name)
