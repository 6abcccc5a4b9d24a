"""Parse sections of a YAML file into strictly typed objects, and report a fault in one line."""

import difflib
import reprlib
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError

from tintlab.system import console
from tintlab.system.errors import TintlabError, outside_project
from tintlab.system.urls import redacted

Count = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Share = Annotated[float, Field(ge=0, le=1)]
BelowOne = Annotated[float, Field(ge=0, lt=1)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Section(BaseModel):
    """A section: unknown keys are errors; values are immutable and never converted.

    A quoted number is an error, because DVC and MLflow would record the text.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


def read_yaml(path: Path) -> Any:
    """Read a YAML file, without checks.

    Raises:
        TintlabError: it is missing or is not YAML.
    """
    try:
        return YAML(typ="safe", pure=True).load(path)
    except FileNotFoundError:
        raise outside_project(path) from None
    except MarkedYAMLError as error:
        line = f" in line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise TintlabError(f"{path} is not readable YAML{line}: {error.problem}") from None
    except (YAMLError, ValueError) as error:
        raise TintlabError(f"{path} is not readable YAML: {console.one_line(error)}") from None


def flatten(section: BaseModel) -> dict[str, Any]:
    """All values as `section.key: value`, as experiment trackers list them."""
    flat: dict[str, Any] = {}

    def visit(prefix: str, value: Any) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                visit(f"{prefix}.{key}" if prefix else key, inner)
        else:
            flat[prefix] = value

    visit("", section.model_dump(by_alias=True, mode="json"))
    return flat


def first_fault(error: ValidationError, model: type[BaseModel]) -> str:
    """The first fault of a file as one line that names the key.

    Args:
        error: raised by `model`.
        model: of the whole file.
    """
    # A misspelt key is also a missing key; the misspelling says more.
    faults = sorted(error.errors(include_url=False), key=lambda fault: fault["type"] != "extra_forbidden")
    fault = faults[0]
    where = redacted(".".join(str(part) for part in fault["loc"]))
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    match fault["type"]:
        case "extra_forbidden":
            return f"unknown key {where!r}{_suggestion(fault['loc'], model)}{more}"
        case "missing":
            return f"{where} is missing{more}"
        case "model_type":
            return f"{where or 'the file'} must be a section of keys, got {_shown(fault['input'])}{more}"
        case "value_error":
            message = fault["msg"].removeprefix("Value error, ")
            return f"{where}: {message}{more}" if where else f"{message}{more}"
        case _:
            return f"{where}: {fault['msg']}, got {_shown(fault['input'])}{more}"


def _shown(value: Any) -> str:
    # Not the whole repr: a few bytes of YAML can hold lists that refer to each other thousands of times.
    shortened = reprlib.Repr()
    shortened.maxstring = shortened.maxother = 10_000
    return redacted(shortened.repr(value))[:60]


def _suggestion(location: tuple[str | int, ...], section: type[BaseModel]) -> str:
    for part in location[:-1]:
        if isinstance(part, int):  # an index: all items of a list have one type
            continue
        named = {field.alias or name: field.annotation for name, field in section.model_fields.items()}
        kinds = [named[part], *get_args(named[part])]
        section = next(kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel))
    known = [field.alias or name for name, field in section.model_fields.items()]
    close = difflib.get_close_matches(str(location[-1]), known, n=1)
    return f": did you mean {close[0]!r}?" if close else f"; known are {', '.join(known)}"
