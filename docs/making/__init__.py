"""How the reference pages are written: each page is made from what the code says of itself, plus a fragment by hand."""
