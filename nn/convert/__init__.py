"""Networks of others: from and to PyTorch, from scikit-learn.

Reading order: `table` (a row a kind of layer: what other programs call it), `torch` (networks both
ways, weights included), `torch_trace` (a module taken apart), `sklearn` (fitted estimators).
"""
