"""The layers: value, forward derivative (Eq. 4 and 5) and backward step, side by side in one class.

In: a layer's input (b, y, x, c) and its Jacobian. Out: the same two of its output. Read
`nn.textbook` first: there the same equations stand with every weight matrix written out. The path:
`base` (what a layer is), `jacobian` (∂H_k/∂x and its window), `convolution` and `fast` (what
gathers its numbers), `pooling`, `activation` and `piecewise`, `linear`, `normalization` and
`sample_norm`, `affine`, `unflatten`, and `merge` where branches meet; `padding` is what some of
them put around.
"""
