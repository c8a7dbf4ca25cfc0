"""What `closedloop doctor` looks at, a file for each part of the installation and the loop."""
