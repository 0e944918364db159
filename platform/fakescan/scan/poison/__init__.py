"""What is done with images that end the process which has them."""
