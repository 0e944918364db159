"""What can happen to a picture on its way, and the same at random for what is learnt from."""
