"""The registry of networks, by the `kind` that recipes and weight files name.

A new network is a file beside this one that derives `NetworkConfig` and `Network`, and a line in `NETWORKS`.
"""

from typing import Annotated, Any, TypeAlias

from pydantic import PlainValidator, SerializeAsAny

from spadsr.networks.multi_resolution import MultiResolutionConfig, MultiResolutionTransformer
from spadsr.networks.network import Network, NetworkConfig
from spadsr.networks.window_attention import WindowAttentionConfig, WindowAttentionNetwork

NETWORKS: dict[str, tuple[type[NetworkConfig], type[Network]]] = {
    "multi_resolution": (MultiResolutionConfig, MultiResolutionTransformer),
    "window_attention": (WindowAttentionConfig, WindowAttentionNetwork),
}

USUAL = "multi_resolution"


def network_config(values: Any) -> NetworkConfig:
    """The config of the kind that `values`, a dictionary, names; of the usual kind where it names none.

    Raises:
        ValueError: no such kind, or a key or value that its config does not have.
    """
    if isinstance(values, NetworkConfig):
        return values
    kind = str(values.get("kind", USUAL)) if isinstance(values, dict) else USUAL
    if kind not in NETWORKS:
        raise ValueError(f"no network of kind {kind}; choose from {', '.join(NETWORKS)}")
    return NETWORKS[kind][0].model_validate(values)


#: A field of a pydantic model that holds the config of any kind of network.
AnyNetworkConfig: TypeAlias = Annotated[SerializeAsAny[NetworkConfig], PlainValidator(network_config)]


def build(config: NetworkConfig) -> Network:
    """A network of that kind and size, with random weights."""
    return NETWORKS[config.kind][1](config)
