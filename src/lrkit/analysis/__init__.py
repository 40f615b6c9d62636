"""Functions from records to results."""
