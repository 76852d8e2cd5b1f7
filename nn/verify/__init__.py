"""Is this derivative right? Referees that share no arithmetic with the layers, and what their
disagreement means.

Reading order: `network` (every layer of a network: `check_network`), `referees` (the complex step,
differences, the textbook), `parts` with `forward_part`, `backward_part` and `gradient_part` (each
judged), `ties` (where there is no derivative), `locally` (one layer by itself), `rounding` (what it
can do) and `judging` (entry by entry), `answer` and `report` (what is said), `diagnosis` and
`unitwise` (the likely cause), `catalogue` (the mistakes one makes), `mistakes` (the same, seeded),
`function` (a bare function and its Jacobian: `check_jacobian`), `frameworks` (torch, jax and
autograd).
"""
