"""What every model says of itself by its card."""

from partialfc.serving.card import Card


class WithCard:
    """The sizes of a `Model`, from its card."""

    card: Card

    @property
    def image_size(self) -> int:
        return self.card.image_size

    @property
    def channels(self) -> int:
        return self.card.channels

    @property
    def embedding_size(self) -> int:
        return self.card.embedding_size
