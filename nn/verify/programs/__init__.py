"""Derivatives written by hand for torch and jax: `check_torch` and `check_jax`.

Reading order: `own` (the program's own derivative as a referee), `program` (what both have in
common), `of_torch` with `torch_alone`, `of_jax`.
"""
