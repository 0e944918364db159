"""From the bytes of uploads to pixels: whose turn it is, how much memory there is, and what decoding costs."""
