"""Review of a run by people: designed samples, label files, and the numbers that follow from them."""
