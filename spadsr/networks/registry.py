"""The networks there are: ours, and a plain one to compare it with. A recipe and a weight file say which by `kind`."""

from typing import Annotated, Any, TypeAlias

from pydantic import Discriminator, Tag

from spadsr.networks.gated_fusion import GatedFusionTransformer, NetworkConfig
from spadsr.networks.window_attention import WindowAttentionConfig, WindowAttentionNetwork

Network: TypeAlias = GatedFusionTransformer | WindowAttentionNetwork

OURS, PLAIN = KINDS = "gated_fusion", "window_attention"


def _kind(config: Any) -> str:
    """Ours where nothing is said."""
    kind = config.get("kind", OURS) if isinstance(config, dict) else getattr(config, "kind", OURS)
    return str(kind)


AnyNetworkConfig: TypeAlias = Annotated[
    Annotated[NetworkConfig, Tag(OURS)] | Annotated[WindowAttentionConfig, Tag(PLAIN)],
    Discriminator(_kind),
]


def build(config: NetworkConfig | WindowAttentionConfig) -> Network:
    """A network of that kind and size, with random weights."""
    if isinstance(config, WindowAttentionConfig):
        return WindowAttentionNetwork(config)
    return GatedFusionTransformer(config)
