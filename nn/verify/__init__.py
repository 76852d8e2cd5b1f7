"""Is this derivative right? Referees that share no arithmetic with the layers, and what their
disagreement means.

Reading order: `network` (every layer of a network: `check_network`), `referees` (the complex step,
differences, the textbook), `parts` (forward derivative, backward step, gradients, each judged),
`ties` (where there is no derivative), `answer`, `pytest_plugin` and `report` (what is said),
`diagnosis` (the likely cause), `catalogue` (the mistakes one makes), `mistakes` (the same, seeded
into a network), `functions` (code that is no network: `check_jacobian`, `check_gradients`,
`check_backward`), `frameworks` (torch, jax and autograd).
"""
