"""The DVC stages: one module a stage, a pure function and a short `main()` that reads and writes files."""
