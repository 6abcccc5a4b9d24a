"""The studio: colour, compare, steer and hint photographs, on a page of this machine or by plain HTTP."""
