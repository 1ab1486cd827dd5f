"""A disk that fails, a process that dies and a power cut, for tests of what a store survives."""
