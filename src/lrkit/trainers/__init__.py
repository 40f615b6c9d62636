"""lrkit in other trainers: one module for each, which loads that trainer when it is imported."""
