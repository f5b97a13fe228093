"""What changes a PyTorch training: the accelerator and its window of parameters."""
