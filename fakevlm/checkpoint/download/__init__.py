"""Downloads of models: from the hub or an object store, taken up where they broke off, never waiting forever."""
