"""Networks of others: from and to PyTorch, from scikit-learn.

Reading order: `table` (a row a kind of layer: what other programs call it), `torch` (networks both
ways, weights included); how a module of torch is taken apart: `torch_trace` (what is seen while it
runs), `torch_output` (which layer makes a tensor), `torch_operations` (shapes, constants, sums),
`torch_read` (torch's layers as ours), `torch_run` (the run itself); `sklearn` (fitted estimators).
"""
