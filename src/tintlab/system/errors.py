"""`TintlabError`: the exception whose message is written for the user."""


class TintlabError(Exception):
    """A fault that the user can fix. Its message is one line: what, where, and what to do."""


def outside_project(path: object) -> TintlabError:
    """The error for a missing file that every project has: this folder is not a project."""
    return TintlabError(f"{path} is missing: run this in a project (`tintlab init` makes one)")
