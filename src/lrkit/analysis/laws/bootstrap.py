def resample(): pass
