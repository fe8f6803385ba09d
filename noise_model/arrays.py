"""Types of arrays that all packages share."""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: Counts of images (..., H, W): whole numbers, in whatever type a file or a camera has them.
Counts: TypeAlias = NDArray[Any]

#: Numbers to compute with, in double precision.
Floats: TypeAlias = NDArray[np.float64]

#: A picture (..., H, W): rates in counts/s, or light relative to white.
Picture: TypeAlias = NDArray[np.float32]
