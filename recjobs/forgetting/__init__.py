"""Takes users out of what stages have made. What is said here of a file holds for every attempt of every run."""
