"""Numbers about verdicts and explanations: pure functions, and the paper's figures beside them."""
