"""The rules of each world, one file a world."""
