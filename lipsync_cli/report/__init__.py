"""Reports on many scored files, to hand on: a table for machines and a page for people."""
