"""A door that scripts go through: `partialfc.trained.load_trained`. It lives in partialfc/deploy."""

from partialfc.deploy.trained import Trained, load_trained

__all__ = ["Trained", "load_trained"]
