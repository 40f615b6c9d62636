"""Many runs at once, each as it would have been alone."""
