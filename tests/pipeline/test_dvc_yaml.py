"""dvc.yaml lists what each stage really imports and reads, no more and no less."""

import ast
from pathlib import Path
from typing import Any

import grimp
import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
STAGES: dict[str, dict[str, Any]] = YAML(typ="safe").load(ROOT / "dvc.yaml")["stages"]
NO_RESULT = {
    "tintlab.cli",
    "tintlab.system.console",
    "tintlab.system.checkout",
    "tintlab.system.errors",
    "tintlab.system.locks",
    "tintlab.tracking.lineage",
    "tintlab.system.memory",
    "tintlab.system.params",
    "tintlab.system.decision_params",
    "tintlab.system.sections",
    "tintlab.registry.parents",
    "tintlab.system.paths",
    "tintlab.system.processes",
    "tintlab.system.entry_point",
    "tintlab.tracking.training_runs",
    "tintlab.tracking.spool",
    "tintlab.tracking.recorder",
    "tintlab.tracking.load",
    "tintlab.tracking.store",
    "tintlab.tracking.delivery",
    "tintlab.tracking.sender",
    "tintlab.tracking.interrupted",
    "tintlab.tracking.parent_lock",
}
"""Modules that a stage may import though no output depends on them: they check, name, watch and report. DVC knows
the parameters' values and the outputs' names by itself."""


def source_file(module: str) -> Path:
    path = Path("src", *module.split("."))
    return path / "__init__.py" if (ROOT / path).is_dir() else path.with_suffix(".py")


def is_empty(path: Path) -> bool:
    """Nothing but a docstring."""
    return all(isinstance(node, ast.Expr) for node in ast.parse((ROOT / path).read_text()).body)


def templates_of(modules: set[str]) -> set[str]:
    """The templates that modules render, and the template that these extend."""
    folder = Path("src/tintlab/reports/templates")
    sources = [(ROOT / source_file(module)).read_text() for module in modules]
    known = [path.name for path in (ROOT / folder).iterdir()]
    used = {name for name in known if any(f'"{name}"' in source for source in sources)}
    used |= {name for name in known for page in used if f'"{name}"' in (ROOT / folder / page).read_text()}
    return {(folder / name).as_posix() for name in used}


@pytest.fixture(scope="module")
def import_graph() -> grimp.ImportGraph:
    graph = grimp.build_graph("tintlab", cache_dir=None)
    for module in NO_RESULT:
        graph.remove_module(module)
    return graph


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_the_modules_it_imports(stage: str, import_graph: grimp.ImportGraph) -> None:
    module = f"tintlab.stages.{stage}"
    closure = {module, *import_graph.find_upstream_modules(module)}
    imported = {path.as_posix() for path in map(source_file, closure) if not is_empty(path)}
    listed = {dep for dep in STAGES[stage]["deps"] if dep.startswith("src/")}
    assert listed == imported | templates_of(closure)


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_lists_the_parameters_it_reads(stage: str) -> None:
    tree = ast.parse((ROOT / source_file(f"tintlab.stages.{stage}")).read_text())
    sections = {"fetch", "photos", "split", "validate", "convert", "train", "evaluate"}
    read = {
        node.attr.rstrip("_")
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and (
            (isinstance(node.value, ast.Name) and node.value.id == "params")
            or (isinstance(node.value, ast.Call) and ast.unparse(node.value.func) == "load_params")
        )
    }
    assert read & sections == set(STAGES[stage]["params"])


def test_the_evaluation_page_is_no_dependency_of_validate() -> None:
    deps = STAGES["validate"]["deps"]
    assert "src/tintlab/reports/validation.py" in deps
    assert not [dep for dep in deps if "evaluat" in dep]


def test_stage_module_and_command_bear_one_name() -> None:
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"python -m tintlab.stages.{name}"


def test_outputs_of_one_stage_belong_to_it_alone() -> None:
    outputs = [
        next(iter(out)) if isinstance(out, dict) else out
        for stage in STAGES.values()
        for kind in ("outs", "metrics", "plots")
        for out in stage.get(kind, [])
    ]
    assert len(outputs) == len(set(outputs))


def test_no_parameter_bears_a_name_that_dvcs_run_cache_ignores() -> None:
    """It leaves `size` and `nfiles` out of its key, at any depth: a change would bring back the old outputs."""

    def names(value: Any) -> set[str]:
        return (
            {*value, *(name for inner in value.values() for name in names(inner))}
            if isinstance(value, dict)
            else set()
        )

    assert not names(YAML(typ="safe").load(ROOT / "params.yaml")) & {"size", "nfiles"}
