"""Addresses of tensors for the compiled loops, which can read the memory of the CPU alone."""

from torch import Tensor


def address(tensor: Tensor) -> int:
    """The address of a tensor's first element.

    Raises:
        ValueError: the tensor is not on the CPU; C code would read another device's address.
    """
    if tensor.device.type != "cpu":
        raise ValueError(
            f"the compiled loops read CPU memory only: got a tensor on {tensor.device}; "
            "move all tensors to the CPU, or all to the accelerator"
        )
    return tensor.data_ptr()
