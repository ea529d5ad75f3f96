"""Fine-tuning a trained network: which parts train and how fast, low-rank updates, and the first centres.

Plain functions on any torch.nn.Module and on a head. May import `checkpoint`, `deploy`, `distributed`, `head`
and `errors`.
"""

from partialfc.finetune.centres import begin_at_means, take_over_centres
from partialfc.finetune.class_means import Means, class_means
from partialfc.finetune.freezing import freeze
from partialfc.finetune.groups import parameter_groups
from partialfc.finetune.lora import add_lora, load_lora_state, lora_state, merge_lora

__all__ = [
    "Means",
    "add_lora",
    "begin_at_means",
    "class_means",
    "freeze",
    "load_lora_state",
    "lora_state",
    "merge_lora",
    "parameter_groups",
    "take_over_centres",
]
