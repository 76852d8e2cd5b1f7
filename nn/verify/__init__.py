"""Is this derivative right? Referees that share no arithmetic with the layers, and what their disagreement means.

Reading order: `network` (every layer of a network), `function` (a bare function and its Jacobian), `ties`, `diagnosis`,
`mistakes`, `report`; `frameworks` (torch, jax and autograd as referees).
"""
