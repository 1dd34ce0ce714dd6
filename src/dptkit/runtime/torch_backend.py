"""The PyTorch engine: eager on CPU and Apple GPUs, eager and as captured graphs on CUDA."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch

from dptkit.errors import ConfigError
from dptkit.model.dpt import DPT
from dptkit.runtime.backend import PRECISIONS, Precision, is_about_memory, require_finite
from dptkit.runtime.torch_cuda import CudaNetwork, graph_limit


class TorchBackend:
    """Runs a network in inference mode. It is moved, cast and frozen in place, and belongs to the backend."""

    engine = "torch"

    def __init__(
        self, network: DPT, device: str = "auto", precision: Precision = "float32", graphs: int | None = None
    ) -> None:
        """graphs: captured graphs to keep on CUDA, 0 for none; by default what DPTKIT_CUDA_GRAPHS says, or 8.

        Raises ConfigError for an unknown precision, or a device that is not there.
        """
        if precision not in PRECISIONS:
            raise ConfigError(f"unknown precision {precision!r}: use one of {', '.join(PRECISIONS)}")
        self._device = find_device(device)
        self._dtype: torch.dtype = getattr(torch, precision)
        self._network = network.to(self._device, self._dtype).freeze()
        self.precision = precision
        self.device = str(self._device)
        self._cuda: CudaNetwork | None = None
        if self._device.type == "cuda":
            limit = graph_limit() if graphs is None else graphs
            self._cuda = CudaNetwork(self._network, limit)

    def predict(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """Normalised images float32 [B, 3, h, w] -> raw output float32 [B, K, h, w]."""
        try:
            raw = self._run(images)
        except RuntimeError as error:
            if not is_about_memory(error):
                raise
            memory_error = MemoryError(str(error).splitlines()[0])
        else:
            return require_finite(raw, self.precision, self.device)
        # Here, where the failed call's tensors are gone, and with them what they held.
        if self._cuda is not None:
            self._cuda.free_memory()
        raise memory_error

    def _run(self, images: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        if self._cuda is not None:
            return self._cuda.predict(images)
        with torch.inference_mode():
            batch = torch.from_numpy(images).to(self._device, self._dtype)
            raw: npt.NDArray[np.float32] = self._network(batch).float().cpu().numpy()
            return raw


def find_device(name: str) -> torch.device:
    """ "auto" (CUDA, then Apple GPU, then CPU) or any PyTorch device name. Raises ConfigError if it is not there."""
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, NotImplementedError):
        raise ConfigError(f"device {name!r} is not available here: use auto or cpu") from None
    if device.type == "meta":
        raise ConfigError("device 'meta' cannot compute: use auto or cpu")
    return device
