"""Is the derivative of a function right? For code that is not made of our layers.

Reading order: `jacobian`, `gradients` and `backward` (what is asked, one file each), `point` (a
function of named arrays), `slopes` (differences on a ladder of steps), `referee` (with the complex
step), `judge` (an entry), `search` (all entries), `causes`, `evidence` and `patterns` (the likely
mistake by the numbers; by the code: `verify.tape`), `check` (all of it in turn), `report`.
"""
