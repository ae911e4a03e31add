"""The errors of a fusion; each is one sentence for the user."""


class FusionError(RuntimeError):
    """A fusion that cannot be started, or did not come to its end; the scene is as it was."""


class FusionCancelledError(FusionError):
    """A fusion that was cancelled."""
