"""Records of runs from elsewhere and for elsewhere: formats on one side, `History` on the other, series between."""
