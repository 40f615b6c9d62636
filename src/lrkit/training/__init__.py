"""Training with torch: binding, tasks, data, the loop, and the record that it leaves."""
