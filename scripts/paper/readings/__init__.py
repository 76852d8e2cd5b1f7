"""How the paper can be read: `table` (every reading of the network, its outputs and Γ), `tens`
(other digits in Fig. 1), `rounded` (the derivative in single precision), `and_readings` (the AND
network, many at once by `and_training`) and `heat_map`, the picture."""
