"""A local AWS sandbox: moto's server with the missing calls added, and simulated instances that really run their user data."""
