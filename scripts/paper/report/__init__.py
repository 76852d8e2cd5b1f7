"""What `jsma reproduce` leaves: `page` (report.html), its `first_screen` with `thumbnail`s, and
`results` (results.json)."""
