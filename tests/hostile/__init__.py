"""Files that try to run code, to touch the machine or to eat it, and a process that opens them under watch."""
