"""Something to look at: tables, pictures, the command line."""
