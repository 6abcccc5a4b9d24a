"""Files, locks, processes, entry points, parameters and URLs: the foundation of all other subpackages."""
