"""Where a training is seen while it runs: TensorBoard's files, Weights & Biases, MLflow."""
