"""The one exception that people are meant to read."""


class TintlabError(Exception):
    """A fault that the user can mend: its message is one line that says what, where and what to do."""
