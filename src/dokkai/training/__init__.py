"""The one loop, and what stands round it: optimizer, schedule, checkpoints, the run directory."""
