"""The path from which scripts import `load_trained`; the function is in partialfc/deploy/trained.py."""

from partialfc.deploy.trained import Trained, load_trained

__all__ = ["Trained", "load_trained"]
