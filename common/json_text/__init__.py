"""JSON as text: writing, comparing and strict reading. Imports no other package of this project; all may import it."""
