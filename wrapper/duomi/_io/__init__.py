"""I/O: httpx, threads, event loops and the disk."""
