"""Every option of every command and method: one file for each owner, one dataclass field for each option."""
