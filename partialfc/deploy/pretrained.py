"""A trained network by the name of a folder, here or on Hugging Face's Hub."""

from collections.abc import Collection
from pathlib import Path

from partialfc.deploy.opened.folder import fetch, is_export
from partialfc.deploy.trained import load_trained
from partialfc.deploy.trained_network import Trained
from partialfc.errors import CheckpointError
from partialfc.serving.card import CARD_FILE


def from_pretrained(name: str | Path, *, trust: Collection[str] = ()) -> Trained:
    """The network that `partialfc export` wrote into a folder, on the CPU, in evaluation mode.

    Called with images, it gives their embeddings; `.card` says what it was trained on, how good it is, and
    at which cosine two images count as the same class. Where the card says so, the mirrored image's embedding
    is joined, as in the figures of the card. A run, a checkpoint and a file of weights are opened too.

    Args:
        name (str | Path): The folder; where there is none of that name, a repository of the Hub such as
            "someone/faces", which huggingface_hub gets and keeps.
        trust (Collection[str]): The modules that may be imported for a backbone of your own: nothing else
            that such a folder names is run, and no pickle is read.

    Raises:
        CheckpointError: if there is none, a file is missing or damaged, or it does not fit its network.
        DataError: for a damaged card.
        ConfigError: for a network that there is not, or whose module is not in `trust`.
        MissingExtraError: for a repository, without huggingface_hub.
    """
    path = Path(name)
    if not path.exists():
        if str(name).count("/") != 1 or str(name).startswith((".", "~", "/")):
            raise CheckpointError(
                f"{name}: there is no such folder, and it is no name of a repository, OWNER/NAME"
            )
        path = fetch(str(name))
        if not is_export(path):
            raise CheckpointError(f"{name}: the repository has no {CARD_FILE}, which partialfc export writes")
    return load_trained(path, trust=trust)
