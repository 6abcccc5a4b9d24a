"""The one exception that people are meant to read."""


class TintlabError(Exception):
    """A fault that the user can fix. Its message is one line: what, where, and what to do."""
