"""Qt parts of the panels: forms made from a declaration, job polling, tables. Never imports torch."""
