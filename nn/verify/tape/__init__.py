"""Which mistake in a person's own function gives the claimed derivative? For the words of a report:
verdicts never depend on it.

Reading order: `units` (a function that works unit by unit), `node`, `operations`, `reverse` and
`tape` (the function is recorded, and gone back over), `uses`, `forgotten`, `sums`, `places`,
`others`, `compounds` and `mutations` (mistakes made in it on purpose), `explain` (what they give
beside what is claimed).
"""
