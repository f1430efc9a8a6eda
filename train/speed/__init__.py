"""What things cost: figures that are measured, never asserted."""
