"""The commands of `lgd`: their options, how they are read, and what each one calls."""
