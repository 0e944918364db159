"""What an image costs before a model sees it: steps, levers, other decoders, and what decoding fast changes."""
