from pathlib import Path

import pytest
from dvc.utils.hydra import apply_overrides

from tintlab.operations import pipeline
from tintlab.system import paths
from tintlab.system.params import load_params

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("preset", sorted(path.stem for path in (ROOT / "presets").glob("*.yaml")))
def test_dvc_reads_a_preset_as_params_do(
    preset: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paths, "PRESETS", ROOT / "presets")
    changed = tmp_path / "params.yaml"
    changed.write_bytes((ROOT / "params.yaml").read_bytes())
    apply_overrides(changed, pipeline.preset_overrides(preset))
    assert load_params(changed) == load_params(ROOT / "params.yaml", pipeline.read_preset(preset))


def test_a_preset_may_name_urls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "PRESETS", tmp_path)
    (tmp_path / "own.yaml").write_text(
        "fetch:\n  sources: [{path: 'https://example.org/a.zip', follow_links: true}, {path: b c.zip}]\n"
    )
    changed = tmp_path / "params.yaml"
    changed.write_bytes((ROOT / "params.yaml").read_bytes())
    apply_overrides(changed, pipeline.preset_overrides("own"))
    first, second = load_params(changed).fetch.sources
    assert (first.path, first.follow_links) == ("https://example.org/a.zip", True)
    assert second.path == "b c.zip"
