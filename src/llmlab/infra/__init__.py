"""Resource, plan, apply, destroy; knows no AWS."""
