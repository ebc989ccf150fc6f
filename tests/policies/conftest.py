"""One torch thread, since small tensors gain nothing from more, and hypothesis without deadlines."""

import torch
from hypothesis import settings

torch.set_num_threads(1)
settings.register_profile("no_deadline", deadline=None)
settings.load_profile("no_deadline")
