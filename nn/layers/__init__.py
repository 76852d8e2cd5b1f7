"""The layers: a value, its forward derivative (Eq. 4 and 5) and its backward step, side by side in one class each.

Reading order: `base` (what a layer is), `jacobian` (∂H_k/∂x and its window), `convolution`, `pooling`, `activation`,
`linear`, `normalization`; `merge` where branches meet.
"""
