"""The one door to the machine: programs, files, locks, processes, sockets, root."""
