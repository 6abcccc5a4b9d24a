"""The lock file of the model that a training starts from: what `train.init_from` stood for when it was recorded.

An alias moves and a file changes without DVC's knowing. So what the name stood for is kept in a file that DVC
follows, and a training loads nothing else, see `registry.parents`.
"""

from typing import Any

from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json


def read_parent(spec: str | None) -> dict[str, Any] | None:
    """What the lock file says of `train.init_from`: `version` and `weights_sha256`; None where that is null.

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
