"""The errors of a fusion; each is one sentence for the user."""


class FusionError(RuntimeError):
    """A fusion cannot be started, or has failed; the scene is unchanged."""


class FusionCancelledError(FusionError):
    """A fusion that was cancelled."""
