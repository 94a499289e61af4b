"""The list: everything a lab owns, in order."""
