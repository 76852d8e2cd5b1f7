"""Networks of others: from and to PyTorch (`torch`, `torch_trace`), from scikit-learn (`sklearn`)."""
