"""How a job fails. Nothing is imported here: every command reads this when it starts."""


class JobFailedError(RuntimeError):
    """A job ended without its result, through no setting of the user's. One line; the command line exits with 1."""
