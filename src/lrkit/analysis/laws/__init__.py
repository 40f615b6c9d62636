"""Laws of how the loss follows from the learning rate: curves in, fitted laws and predictions out."""
