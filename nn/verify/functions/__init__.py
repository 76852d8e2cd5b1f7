"""Is the derivative of a function right? For code that is not made of our layers.

Reading order: `jacobian`, `gradients` and `backward` (what is asked, one file each), `point` (a
function of named arrays), `slopes` (differences on a ladder of steps), `referee` (with the complex
step), `judge` (an entry), `search` (all entries), `causes`, `evidence`, `patterns` and `units` (the
likely mistake by the numbers), `check` (all of it in turn), `report`. Code for
torch and jax comes in by `program`, `of_torch` with `torch_alone`, and `of_jax`; `own` is their own
derivative as a referee.

The likely mistake by the code: `node`, `operations`, `reverse` and `tape` record the function and
go back over it; `uses`, `forgotten`, `sums`, `places`, `others`, `compounds` and `mutations` make
mistakes in it on purpose; `explain` compares what they give with what is claimed.
"""
