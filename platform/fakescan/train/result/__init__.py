"""What a training leaves: the model, its card, LoRA's own weights."""
