"""Is this derivative right? Referees that share no arithmetic with the layers, and what their
disagreement means.

Reading order: `network` (every layer of a network: `check_network`), `referees` (the complex step,
differences, the textbook), `parts` with `forward_part`, `backward_part` and `gradient_part` (each
judged), `ties` (where there is no derivative), `locally` (one layer by itself), `rounding` and
`coupled` (what it can do) and `judging` (entry by entry), `answer`, `pytest_plugin` and `report`
(what is said), `diagnosis` and `unitwise` (the likely cause), `catalogue` (the mistakes one makes),
`mistakes` (the same, seeded), `functions` (code that is no network: `check_jacobian`,
`check_gradients`, `check_backward`) with `tape` (the likely mistake in it) and `programs` (of torch
and jax: `check_torch`, `check_jax`), `frameworks` (torch, jax and autograd as referees of a
network).
"""
