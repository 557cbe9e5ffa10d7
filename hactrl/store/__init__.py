"""What outlives the controller: one file, its copies, and the threads that write it."""
