"""Read the lock file of the parent, the model that a training starts from (`train.init_from`).

An alias can move and a file can change without DVC noticing. So the lock file, which DVC tracks, records the
version and the weights that the name stood for. A training loads only the recorded weights, see
`registry.parents`.
"""

from typing import Any

from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json


def read_parent(spec: str | None) -> dict[str, Any] | None:
    """The lock file's entry for `train.init_from`: `version` and `weights_sha256`; None if that is null.

    Raises:
        TintlabError: it was not recorded.
    """
    if spec is None:
        return None
    try:
        known = read_json(paths.PARENT_LOCK)[spec]
        return {"version": known["version"], "weights_sha256": known["weights_sha256"]}
    except (FileNotFoundError, KeyError, TypeError):
        raise TintlabError(
            f"train.init_from {spec} is not in {paths.PARENT_LOCK}: run `tintlab sources refresh`"
        ) from None


def parent_tags(spec: str | None) -> dict[str, str]:
    """The parent as tags of a run, from the lock file."""
    known = read_parent(spec)
    if spec is None or known is None:
        return {}
    return {"parent": spec} | {f"parent.{name}": str(value) for name, value in known.items() if value}
