"""Recovery: sending again what was lost or buried."""
