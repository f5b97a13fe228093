"""What PyTorch's programs save, read with NumPy alone: nothing in a file is imported or called."""
