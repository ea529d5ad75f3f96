"""The path from which scripts import `load_trained`; the function is in partialfc/deploy/trained.py.

`serving` opens by it what takes torch.
"""

from partialfc.deploy.export.card import card_of
from partialfc.deploy.trained import Trained, load_trained

__all__ = ["Trained", "card_of", "load_trained"]
