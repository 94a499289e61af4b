"""The commands by noun: typed options → one call into `ops` → one `ui` view. Nothing heavy is imported at module level."""
