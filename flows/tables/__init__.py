"""The rules of each table, one module for each stage of the pipeline."""
