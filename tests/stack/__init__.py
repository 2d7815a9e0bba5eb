"""The local servers: started, found, watched and ended, with real processes."""
