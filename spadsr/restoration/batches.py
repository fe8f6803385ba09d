"""How many images the network restores fastest at once: measured at the start of long recordings."""

from time import perf_counter
from weakref import WeakKeyDictionary

from torch import Tensor

from noise_model.forward_model import ForwardModel
from spadsr.networks.network import Network
from spadsr.restoration.restorer import Restorer

_FEWER = (1, 4, 16)  # times fewer than the most are tried
_TRIES = 2
_found: "WeakKeyDictionary[Network, dict[tuple[int, ...], int]]" = WeakKeyDictionary()


def fastest_batch(restorer: Restorer, counts: Tensor, model: ForwardModel, scale: int) -> int:
    """The number of images, of those given or fewer, that takes the least time for each; measured once in a process.

    Fewer are faster where the features of many do not stay in the caches of a processor.

    Args:
        counts, model, scale: of the most images at once, as of `Restorer.restore`.

    Raises:
        InputError: as `Restorer.network_answer`.
    """
    known = _found.setdefault(restorer.network, {})
    key = (*counts.shape, scale, restorer.orientations)
    if key not in known:
        sizes = sorted({max(1, len(counts) // fewer) for fewer in _FEWER})
        known[key] = min(sizes, key=lambda size: _seconds(restorer, counts[:size], model, scale) / size)
    return known[key]


def _seconds(restorer: Restorer, counts: Tensor, model: ForwardModel, scale: int) -> float:
    """The least time of some tries."""
    times = []
    for _ in range(_TRIES):
        began = perf_counter()
        restorer.network_answer(counts, model, scale)[0].cpu()  # waits for the device
        times.append(perf_counter() - began)
    return min(times)
