"""Types of arrays that every floor of the package speaks of."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]
Complex128 = npt.NDArray[np.complex128]
#: Any real floating-point dtype, as tensors are stored.
Floating = npt.NDArray[np.floating[Any]]
