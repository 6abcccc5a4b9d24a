"""The one exception that people are meant to read."""


class TintlabError(Exception):
    """A fault that the user can fix. Its message is one line: what, where, and what to do."""


def outside_project(path: object) -> TintlabError:
    """The error about a file that every project has: this folder is none."""
    return TintlabError(f"{path} is missing: run this in a project (`tintlab init` makes one)")
