"""Where photographs come from: archives, folders and URLs, and the lock file that pins them."""
