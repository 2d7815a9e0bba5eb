"""The local servers of a project, as child processes: what they are, where they run, how to reach them."""
