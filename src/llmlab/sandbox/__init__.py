"""An AWS of your own on this machine: moto's server, completed, and a machine room that really runs the user data."""
